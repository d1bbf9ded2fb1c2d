import { encode } from 'uqr';

const SVG = 'http://www.w3.org/2000/svg';

/** Draws `text` as a QR code: one path of unit squares, dark on light in every colour scheme. */
export function qrCode(text: string): SVGSVGElement {
  const { size, data } = encode(text, { ecc: 'M', border: 3 });
  const squares = data.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : '')));
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${size} ${size}`);
  svg.setAttribute('shape-rendering', 'crispEdges');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', squares.join(''));
  svg.append(path);
  return svg;
}
