// The scale of the live view. Pure.

/** The scales to choose from; 0 fits the picture into its place. */
export const ZOOMS = [0, 0.5, 0.75, 1, 1.5, 2, 4];
const LEAST = 0.1;
const MOST = 4;

/** A scale within the limits; what is no larger than `fit` is fitted. */
export const clampZoom = (zoom, fit) => (zoom <= fit * 1.02 ? 0 : Math.min(MOST, Math.max(LEAST, zoom)));

/** The next larger or smaller scale of the list. */
export function stepZoom(zoom, fit, way) {
  const shown = zoom || fit;
  const next = way > 0 ? ZOOMS.find((each) => each > shown * 1.02) : ZOOMS.findLast((each) => each < shown / 1.02);
  return clampZoom(next ?? shown, fit);
}

export const percent = (zoom) => `${Math.round(zoom * 100)} %`;

export const distance = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);

export const middle = ([a, b]) => ({ clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 });
