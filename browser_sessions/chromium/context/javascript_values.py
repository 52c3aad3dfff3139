"""A JavaScript value as JSON, written where it is: in the page.

Playwright would carry every value of it as a small message and put it together on the event loop: 300,000 objects held
that up for 15 seconds. Here the page says one text, of bounded length, and the loop does nothing but receive it.

| JavaScript | JSON |
|---|---|
| `NaN`, `Infinity`, `undefined`, functions, symbols | `null`, as `JSON.stringify` has it |
| `Date` | its ISO 8601 text, UTC |
| `bigint` | a number up to 2^53 - 1, its digits as text beyond: other readers of JSON would round it |
| `URL`, `RegExp`, `Error` | their address, source, message |
| typed arrays | arrays |
| `Map`, `Set` | `{}`, as `JSON.stringify` has it |
| nodes and windows | `ref: <Node>`, `ref: <Document>`, `ref: <Window>` |
| an object that contains itself | the text `[Circular]` where it comes again |
| half of a surrogate pair | U+FFFD: it cannot be written as UTF-8 |
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson

from browser_sessions.domain.errors import PageFailed
from browser_sessions.domain.limits import TEXT_CHARACTERS
from browser_sessions.domain.text import valid

DEPTH_AT_MOST: Final = 200
"""Nested deeper than this, most JSON readers give up."""
CHARACTERS_AT_MOST: Final = 8 * 2**20
"""Of a value as JSON. Receiving so much holds the event loop up for some 40 ms, measured on two shared cores."""
BOXES_AT_MOST: Final = 100_000
"""Objects and arrays of a value: to Python each costs more than its characters do."""
_ON_THE_LOOP: Final = 2**16
"""Characters that are read at once: a tenth of a millisecond. More are read in a thread."""

WRITE: Final = """async ([source, most, deepest, boxes]) => {
  const quote = JSON.stringify, tagOf = Object.prototype.toString
  let left = most
  const say = piece => {
    left -= piece.length
    if (left < 0) throw new Error(`The value has more than ${most} characters as JSON. Return less, or parts of it.`)
    return piece
  }
  const words = text => say(quote(text.toWellFormed()))
  const within = []
  const nested = (value, work) => {
    if (!boxes--) throw new Error('The value has too many objects and arrays. Return fewer, or parts of it.')
    if (within.includes(value)) return words('[Circular]')
    if (within.length >= deepest)
      throw new Error(`The value is nested more than ${deepest} levels deep. Return a flatter one.`)
    within.push(value)
    const text = work()
    within.pop()
    return text
  }
  const list = value => {
    const parts = []
    for (let i = 0; i < value.length; i++) parts.push(say(i ? ',' : '') + write(value[i]))
    return say('[') + parts.join('') + say(']')
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
      parts.push(say(parts.length ? ',' : '') + words(name) + say(':') + write(item))
    }
    return say('{') + parts.join('') + say('}')
  }
  const object = value => {
    if (typeof Node === 'function' && value instanceof Node)
      return words(value instanceof Document ? 'ref: <Document>' : 'ref: <Node>')
    const tag = tagOf.call(value).slice(8, -1)
    if (tag === 'Window') return words('ref: <Window>')
    if (tag === 'Date') return isNaN(value) ? say('null') : words(value.toISOString())
    if (tag === 'URL') return words(value.href)
    if (tag === 'RegExp') return words(value.source)
    if (tag === 'Error' || tag === 'DOMException') return words(`${value.message}`)
    const listed = Array.isArray(value) || (ArrayBuffer.isView(value) && tag !== 'DataView')
    return nested(value, () => listed ? list(value) : record(value))
  }
  const write = value => {
    switch (typeof value) {
      case 'boolean': return say(`${value}`)
      case 'number': return say(isFinite(value) ? `${value}` : 'null')
      case 'string': return words(value)
      case 'bigint': return Number.isSafeInteger(Number(value)) ? say(`${value}`) : words(`${value}`)
      case 'object': if (value !== null) return object(value)
    }
    return say('null')
  }
  let text
  try {
    let value = (0, eval)(source)
    if (typeof value === 'function') value = value()
    text = `${write(await value)}`
  } catch (error) {
    const said = error instanceof Error ? `${error.name}: ${error.message}` : `${error}`
    text = '!' + (said.length > 2000 ? said.slice(0, 2000) : said)
  }
  return text.length > most ? '!The value is too long.' : text  // a page may have changed `join` and `slice`
}"""
"""Evaluates `source` in the global scope, calls it when it is a function, awaits it, and writes its value as JSON; what
it throws as `!` and words: an exception of thirty million characters held the event loop up for 1.5 seconds.

A page may have changed what the functions used here do; what comes back is a text of bounded length all the same, and
is read as any."""


async def read(written: Any) -> Any:
    """What `WRITE` wrote. Raises `PageFailed` with what the script threw, and when it is no JSON: the page has other
    ideas of it."""
    if isinstance(written, str) and written.startswith("!"):
        raise PageFailed(valid(written[1 : TEXT_CHARACTERS + 1]))
    if not isinstance(written, str) or len(written) > CHARACTERS_AT_MOST:
        raise PageFailed("The page did not write the value as JSON: its scripts have changed how that is done.")
    try:
        if len(written) <= _ON_THE_LOOP:
            return orjson.loads(written)
        return await asyncio.to_thread(orjson.loads, written)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise PageFailed("What the page wrote is no JSON: its scripts have changed how that is done.") from None
