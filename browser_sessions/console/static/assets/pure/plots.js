// The pool's last hour as columns for the plots. Pure.

/** Points kept: one hour at ten seconds. */
export const POINTS = 360;
export const SERIES = ["active", "queue", "refused", "browsers", "memory_bytes", "loop_lag_ms"];

/** The point of a PoolState, if the server sends none with it. */
export function pointOf(pool, at) {
  const memory = pool.browsers?.reduce((sum, browser) => sum + (browser.memory_bytes ?? 0), 0);
  return {
    at, active: pool.taken, queue: pool.queue, refused: pool.refused_total, browsers: pool.browsers?.length ?? null,
    memory_bytes: memory || null, loop_lag_ms: pool.loop_lag_ms ?? null,
  };
}

/** The history with one more point; a point nearer than a step replaces the last one. */
export function addPoint(history, point) {
  const points = history.points.slice();
  const last = points.at(-1);
  const near = last && Date.parse(point.at) - Date.parse(last.at) < history.step_seconds * 1000;
  if (near) points[points.length - 1] = { ...last, ...definedIn(point), at: last.at };
  else points.push(point);
  return { ...history, points: points.slice(-POINTS) };
}

function definedIn(point) {
  return Object.fromEntries(Object.entries(point).filter(([, value]) => value != null));
}

/** Rejections are counted since the start; a plot shows how many each point added. A restart starts at 0. */
export function refusals(history) {
  let last = null;
  const points = history.points.map((point) => {
    const came = last === null ? 0 : Math.max(0, point.refused - last);
    last = point.refused;
    return { ...point, refused: came };
  });
  return { ...history, points };
}

/** Seconds that a plot covers: as long as there are points, from a minute to an hour. */
const SHORTEST_S = 60;
const LONGEST_S = 3600;
/** Size of the plot. */
export const BOX = Object.freeze({ width: 360, height: 32 });

/**
 * The line of one series and the area below it, as SVG paths. The scale starts at zero and has a tenth of head room; a gap
 * of more than three steps stays a gap.
 */
export function paths(history, name, end) {
  const span = spanOf(history, end);
  let top = 0;
  for (const point of history.points) top = Math.max(top, point[name] ?? 0);
  const scale = (BOX.height - 2) / (top * 1.1 || 1);
  let line = "";
  let area = "";
  let from = 0;
  let last = null;
  for (const point of history.points) {
    const value = point[name];
    if (value == null) continue;
    const x = round(xOf(point, end, span));
    const y = round(BOX.height - 1 - value * scale);
    if (last === null || x - last > (3 * history.step_seconds * BOX.width) / span) {
      if (last !== null) area += `L${last} ${BOX.height}L${from} ${BOX.height}Z`;
      line += `M${x} ${y}`;
      area += `M${x} ${y}`;
      from = x;
    } else {
      line += `L${x} ${y}`;
      area += `L${x} ${y}`;
    }
    last = x;
  }
  return { line, area: last === null ? "" : `${area}L${last} ${BOX.height}L${from} ${BOX.height}Z` };
}

const round = (n) => Math.round(n * 10) / 10;
const xOf = (point, end, span) => BOX.width * (1 - (end - Date.parse(point.at)) / 1000 / span);

/** Seconds from the first point to `end`, within the limits of a plot. */
export function spanOf(history, end) {
  const age = history.points.length ? (end - Date.parse(history.points[0].at)) / 1000 : 0;
  return Math.min(LONGEST_S, Math.max(SHORTEST_S, age));
}

/** The point nearest to a position of the plot, 0 (left) to 1. */
export function pointAt(history, part, end) {
  const span = spanOf(history, end);
  const far = (point) => Math.abs(xOf(point, end, span) - part * BOX.width);
  let best = null;
  for (const point of history.points) if (best === null || far(point) < far(best)) best = point;
  return best;
}
