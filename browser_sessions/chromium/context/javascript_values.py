"""Serialises a JavaScript value to JSON in the page.

Playwright would send its own representation of every object and decode it on the event loop: 300,000 objects blocked
that for 15 seconds. Here the page returns one string of bounded length.

| JavaScript | JSON |
|---|---|
| `NaN`, `Infinity`, `undefined`, functions, symbols | `null`, as in `JSON.stringify` |
| `Date` | ISO 8601 string, UTC |
| `bigint` | number up to 2^53 - 1, beyond that a string of digits, which JSON parsers do not round |
| `URL`, `RegExp`, `Error` | address, source, message |
| typed arrays | arrays |
| `Map`, `Set` | `{}`, as in `JSON.stringify` |
| nodes and windows | `ref: <Node>`, `ref: <Document>`, `ref: <Window>` |
| circular references | `[Circular]` |
| lone surrogates | U+FFFD, because they cannot be encoded as UTF-8 |
"""

from __future__ import annotations

import asyncio
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
  const quote = JSON.stringify, tagOf = Object.prototype.toString
  let left = most
  const emit = piece => {
    left -= piece.length
    if (left < 0) throw new Error(`The value has more than ${most} characters as JSON. Return less, or parts of it.`)
    return piece
  }
  const string = text => emit(quote(text.toWellFormed()))
  const parents = []
  const nested = (value, work) => {
    if (!objects--) throw new Error('The value has too many objects and arrays. Return fewer, or parts of it.')
    if (parents.includes(value)) return string('[Circular]')
    if (parents.length >= deepest)
      throw new Error(`The value is nested more than ${deepest} levels deep. Return a flatter one.`)
    parents.push(value)
    const text = work()
    parents.pop()
    return text
  }
  const list = value => {
    const parts = []
    for (let i = 0; i < value.length; i++) parts.push(emit(i ? ',' : '') + write(value[i]))
    return emit('[') + parts.join('') + emit(']')
  }
  const record = value => {
    const names = Object.keys(value), parts = []
    if (!names.length) {
      let own
      try { own = typeof value.toJSON === 'function' ? value.toJSON() : value } catch { own = value }
      if (own !== value) return write(own)
    }
    for (const name of names) {
      let item
      try { item = value[name] } catch { continue }
      parts.push(emit(parts.length ? ',' : '') + string(name) + emit(':') + write(item))
    }
    return emit('{') + parts.join('') + emit('}')
  }
  const object = value => {
    if (typeof Node === 'function' && value instanceof Node)
      return string(value instanceof Document ? 'ref: <Document>' : 'ref: <Node>')
    const tag = tagOf.call(value).slice(8, -1)
    if (tag === 'Window') return string('ref: <Window>')
    if (tag === 'Date') return isNaN(value) ? emit('null') : string(value.toISOString())
    if (tag === 'URL') return string(value.href)
    if (tag === 'RegExp') return string(value.source)
    if (tag === 'Error' || tag === 'DOMException') return string(`${value.message}`)
    const listed = Array.isArray(value) || (ArrayBuffer.isView(value) && tag !== 'DataView')
    return nested(value, () => listed ? list(value) : record(value))
  }
  const write = value => {
    switch (typeof value) {
      case 'boolean': return emit(`${value}`)
      case 'number': return emit(isFinite(value) ? `${value}` : 'null')
      case 'string': return string(value)
      case 'bigint': return Number.isSafeInteger(Number(value)) ? emit(`${value}`) : string(`${value}`)
      case 'object': if (value !== null) return object(value)
    }
    return emit('null')
  }
  const thrown = error => {
    if (error instanceof Error) return `${error.name}: ${error.message}`
    if (typeof error?.message === 'string') return error.message
    const text = `${error}`
    if (text !== '[object Object]') return text
    left = most
    return write(error)
  }
  let text
  try {
    let value = (0, eval)(source)
    if (typeof value === 'function') value = value()
    text = `${write(await value)}`
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
        if len(text) <= _PARSE_ON_LOOP:
            return orjson.loads(text)
        return await asyncio.to_thread(orjson.loads, text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise ScriptFailed("The page returned invalid JSON: its scripts have replaced built-in functions.") from None
