"""A page that repaints itself completely in every frame and counts the frames."""

from __future__ import annotations

from typing import Final

MOVING: Final = """<canvas id=c width=1280 height=720></canvas><style>body{margin:0}</style><script>
const x = c.getContext('2d'); let n = 0; window.painted = 0;
const paint = () => {
  n++; window.painted = n;
  for (let i = 0; i < 40; i++) {
    x.fillStyle = 'hsl(' + (n * 3 + i * 9) + ',70%,50%)'; x.fillRect((n * 5 + i * 60) & 1023, i * 18, 60, 18);
  }
  x.fillStyle = 'white'; x.fillRect(1100, 600, 180, 60); x.fillStyle = 'black'; x.font = '40px sans-serif';
  x.fillText(n, 1110, 645);
  requestAnimationFrame(paint);
};
paint();</script>"""
