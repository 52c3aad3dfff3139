// Numbers, times and texts of pages in a short form. Pure.

export const NONE = "–";

/** 1536 -> "1.5 kB". Decimal units. */
export function bytes(n) {
  if (n == null) return NONE;
  if (n < 1000) return `${n} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = n / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** Seconds as the two largest units at most: "12s", "4m", "3h 5m", "2d 4h". Negative counts as zero. */
export function duration(seconds) {
  if (seconds == null || Number.isNaN(seconds)) return NONE;
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m`;
  if (s < 86400) return pair(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "m");
  return pair(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

/** Under ten minutes the seconds matter: "4m 05s". */
export function countdown(seconds) {
  if (seconds == null || Number.isNaN(seconds)) return NONE;
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60 || s >= 600) return duration(s);
  return `${Math.floor(s / 60)}m ${String(s % 60).padStart(2, "0")}s`;
}

function pair(big, bigUnit, small, smallUnit) {
  return small ? `${big}${bigUnit} ${small}${smallUnit}` : `${big}${bigUnit}`;
}

/** Milliseconds since the epoch of an RFC 3339 time; null without one. */
export function moment(text) {
  if (text == null) return null;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}

const two = (n) => String(n).padStart(2, "0");

/** Local time of day, "14:03:07". */
export function clock(at) {
  const when = typeof at === "number" ? new Date(at) : new Date(moment(at) ?? NaN);
  if (Number.isNaN(when.getTime())) return NONE;
  return `${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}`;
}

/** Local date and time, "2031-05-04 14:03:07". */
export function stamp(at) {
  const when = new Date(moment(at) ?? NaN);
  if (Number.isNaN(when.getTime())) return NONE;
  return `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())} ${clock(when.getTime())}`;
}

/** Short form of an address: its host (as punycode, so that imitations are visible), else its scheme. */
export function hostOf(url) {
  if (!url) return "";
  try {
    const parsed = new URL(url);
    return parsed.host || (url === "about:blank" ? "about:blank" : parsed.protocol);
  } catch {
    return clip(url, 60);
  }
}

/** Source of a log line: file name and line, as far as they are known. */
export function placeOf(url, line) {
  const file = clip(String(url).split(/[?#]/)[0].split("/").filter(Boolean).at(-1) ?? "", 60);
  return line == null ? file : `${file}:${line}`;
}

/** The status in Chromium's error text of a failed request; null if there was no response. */
export const statusIn = (error) => /\bstatus of (\d{3})\b/.exec(error ?? "")?.[1] ?? null;

// C0, C1, and characters that change the direction of text, which could disguise an address.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** Text of a page, safe to show: without control and direction characters, at most `max` characters. */
export function clip(text, max = 300) {
  const clean = String(text ?? "").slice(0, max + 1).replace(UNSEEN, "\ufffd");
  return clean.length > max ? `${clean.slice(0, max)}…` : clean;
}

export const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** "browser_crashed" -> "browser crashed". */
export const words = (name) => String(name ?? "").replaceAll("_", " ");

/** An address with its ticket masked. */
export function maskTicket(url) {
  return String(url ?? "").replace(/([?&](?:ticket|api_key)=)[^&]+/g, "$1•••");
}
