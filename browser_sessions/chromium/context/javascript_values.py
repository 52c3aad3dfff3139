"""Serialises a JavaScript value to JSON in the page.

Playwright would send its own representation of every object and decode it on the event loop: 300,000 objects blocked
that for 15 seconds. Here the page returns one string of bounded length.

The rules are those of `JSON.stringify`, with its `toJSON`, but for four: a value that it cannot represent (circular
references, `bigint`) is an error in words; a window, which is the value of a script that ends with `window.open`, is
`{}`; a `toJSON` that the page added to all arrays or all objects, as some old libraries do, is ignored; and the value
of a script that has none is `null`.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import orjson

from browser_sessions.domain.errors import ScriptFailed
from browser_sessions.domain.limits import TEXT_CHARACTERS
from browser_sessions.domain.text import valid

MAX_DEPTH: Final = 200
"""Nesting levels. Most JSON parsers fail at greater depth."""
MAX_CHARACTERS: Final = 8 * 2**20
"""Length of the JSON text. Receiving it blocks the event loop for some 40 ms (measured on two shared cores)."""
MAX_OBJECTS: Final = 100_000
"""Objects and arrays in a value: in Python each costs more than its characters."""
_PARSE_ON_LOOP: Final = 2**16
"""Longest text that is parsed on the event loop, in a tenth of a millisecond. Longer ones are parsed in a thread."""

SERIALISE: Final = """async ([source, most, deepest, objects]) => {
  const quote = JSON.stringify
  let left = most
  const emit = piece => {
    left -= piece.length
    if (left < 0) throw new Error(`The value has more than ${most} characters as JSON. Return less, or parts of it.`)
    return piece
  }
  const string = text => emit(quote(text))
  const parents = []
  const nested = (value, work) => {
    if (!objects--) throw new Error('The value has too many objects and arrays. Return fewer, or parts of it.')
    if (parents.includes(value)) throw new Error('The value contains itself, which JSON cannot. Return parts of it.')
    if (parents.length >= deepest)
      throw new Error(`The value is nested more than ${deepest} levels deep. Return a flatter one.`)
    parents.push(value)
    const text = work()
    parents.pop()
    return text
  }
  const list = value => {
    const parts = []
    for (let i = 0; i < value.length; i++)
      parts.push(emit(i ? ',' : '') + (write(value[i], `${i}`) ?? emit('null')))
    return emit('[') + parts.join('') + emit(']')
  }
  const record = value => {
    const parts = []
    for (const name of Object.keys(value)) {
      const item = write(value[name], name)
      if (item !== undefined) parts.push(emit(parts.length ? ',' : '') + string(name) + emit(':') + item)
    }
    return emit('{') + parts.join('') + emit('}')
  }
  const everyones = method => method === Array.prototype.toJSON || method === Object.prototype.toJSON
  const write = (value, name) => {
    if (value !== null && (typeof value === 'object' || typeof value === 'bigint')) {
      if (value.window === value) return emit('{}')  // readable in windows of other origins too
      const toJson = value.toJSON
      if (typeof toJson === 'function' && !everyones(toJson)) value = toJson.call(value, name)
    }
    if (value instanceof Number || value instanceof String || value instanceof Boolean || value instanceof BigInt)
      value = value.valueOf()
    switch (typeof value) {
      case 'boolean': return emit(`${value}`)
      case 'number': return emit(isFinite(value) ? `${value}` : 'null')
      case 'string': return string(value)
      case 'bigint': throw new Error('The value has a BigInt, which JSON cannot hold. Return String(value).')
      case 'object':
        if (value === null) return emit('null')
        return nested(value, () => Array.isArray(value) ? list(value) : record(value))
    }
  }
  const thrown = error => {
    if (error instanceof Error) return `${error.name}: ${error.message}`
    if (typeof error?.message === 'string') return error.message
    const text = `${error}`
    if (text !== '[object Object]') return text
    left = most
    return write(error, '') ?? text
  }
  let text
  try {
    let value = (0, eval)(source)
    if (typeof value === 'function') value = value()
    text = `${write(await value, '') ?? 'null'}`
  } catch (error) {
    let message = 'The script threw a value that cannot be shown.'
    try { message = thrown(error) } catch {}
    text = '!' + (message.length > 2000 ? message.slice(0, 2000) : message)
  }
  return text.length > most ? '!The value is too long.' : text  // a page may have changed `join` and `slice`
}"""
"""Evaluates `source` in the global scope, calls it if it is a function, awaits it, and returns its value as JSON. An
exception becomes `!` and a truncated message: one of 30 million characters blocked the event loop for 1.5 seconds.

A page can replace the built-in functions used here. The result is a string of bounded length all the same, and is not
trusted."""


async def parse(text: Any) -> Any:
    """Parses the result of `SERIALISE`. Raises `ScriptFailed` with the script's exception, or if the result is not JSON
    because the page has replaced built-in functions."""
    if isinstance(text, str) and text.startswith("!"):
        raise ScriptFailed(valid(text[1 : TEXT_CHARACTERS + 1]))
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        raise ScriptFailed("The page did not return the value as JSON: its scripts have replaced built-in functions.")
    try:
        return _loads(text) if len(text) <= _PARSE_ON_LOOP else await asyncio.to_thread(_loads, text)
    except (ValueError, RecursionError):
        raise ScriptFailed("The page returned invalid JSON: its scripts have replaced built-in functions.") from None


def _loads(text: str) -> Any:
    """The standard library reads what orjson does not: lone surrogates, which JavaScript's strings may have."""
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)
