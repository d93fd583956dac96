// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** Where ribbons run on the map, and where their words stand: beside neither nodes nor other words. */

/**
 * @typedef {{x: number, y: number}} Point
 * @typedef {Point & {width: number, height: number}} Box
 * @typedef {{node: number, height: number, width: number}} Sizes of nodes, and the map's width
 * @typedef {{place: Point, other: Point, side: number, number: number, y: number}} End of a ribbon; side 1: the right one
 * @typedef {[Point, Point, Point, Point]} Curve of Bézier
 */

const LETTER = 7.8;
const LINE = 17;
const SHARES = [0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82];
const SAMPLES = Array.from({ length: 31 }, (_, number) => number / 30);

/**
 * @param {[Point, Point][]} pairs of nodes, from and to @param {Sizes} sizes
 * @returns {Curve[]}
 */
export function curves(pairs, sizes) {
  const ends = pairs.map(([from, to], number) => {
    const isBeside = Math.abs(from.x - to.x) < sizes.node;
    const side = isBeside ? inner(from, to, sizes) : Math.sign(to.x - from.x);
    const start = { place: from, other: to, side, number, y: 0 };
    return /** @type {[End, End]} */ ([start, { place: to, other: from, side: isBeside ? side : -side, number, y: 0 }]);
  });
  spread(ends.flat(), sizes);
  return ends.map(([start, end]) => curve(start, end, sizes));
}

/** The side for ribbons between nodes of a column: where there is room. @param {Point} from @param {Point} to @param {Sizes} sizes */
function inner(from, to, { node, width }) {
  const beyond = from.x + node / 2 - width / 2;
  return Math.abs(beyond) > node / 2 ? -Math.sign(beyond) : Math.sign(to.y - from.y);
}

/** Ends along the sides of their nodes, in an order in which few ribbons cross. @param {End[]} ends @param {Sizes} sizes */
function spread(ends, sizes) {
  /** @type {Map<string, End[]>} */
  const groups = new Map();
  for (const end of ends) {
    const key = `${end.place.x} ${end.place.y} ${end.side}`;
    groups.set(key, [...(groups.get(key) ?? []), end]);
  }
  for (const group of groups.values()) {
    group.sort((a, b) => compared(rank(a, sizes), rank(b, sizes)));
    group.forEach((end, number) => (end.y = end.place.y + (sizes.height * (number + 1)) / (group.length + 1)));
  }
}

/** Of nodes in the same column the next one is inside of the others. @param {End} end @param {Sizes} sizes */
function rank({ place, other, number }, sizes) {
  if (Math.abs(place.x - other.x) >= sizes.node) return [1, other.y, number];
  return other.y < place.y ? [0, -other.y, -number] : [2, -other.y, number];
}

/** @param {number[]} a @param {number[]} b */
function compared(a, b) {
  const at = a.findIndex((value, number) => value !== b[number]);
  return at < 0 ? 0 : a[at] - b[at];
}

/** @param {End} start @param {End} end @param {Sizes} sizes @returns {Curve} */
function curve(start, end, sizes) {
  const x1 = start.place.x + (start.side > 0 ? sizes.node : 0);
  const x2 = end.place.x + (end.side > 0 ? sizes.node + 4 : -4);
  const isBeside = start.side === end.side;
  const reach = isBeside ? 95 * (1 - Math.exp(-Math.abs(end.y - start.y) / 150)) : Math.abs(x2 - x1) * 0.45;
  return [
    { x: x1, y: start.y },
    { x: x1 + start.side * reach, y: start.y },
    { x: x2 + end.side * reach, y: end.y },
    { x: x2, y: end.y },
  ];
}

/** @param {Curve} curve */
export function pathOf([a, b, c, d]) {
  const [from, ...others] = [a, b, c, d].map(({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`);
  return `M${from}C${others.join(" ")}`;
}

/** @param {Curve} curve @param {number} share @returns {Point} */
function pointOf([a, b, c, d], share) {
  const rest = 1 - share;
  const weights = [rest ** 3, 3 * rest * rest * share, 3 * rest * share * share, share ** 3];
  const sum = (/** @type {"x" | "y"} */ axis) => [a, b, c, d].reduce((all, point, number) => all + weights[number] * point[axis], 0);
  return { x: sum("x"), y: sum("y") };
}

/**
 * The middle of each ribbon's words, on their base line.
 * @param {{words: string, line: Curve, width: number}[]} ribbons @param {Box[]} nodes
 * @param {{width: number, height: number}} space
 * @returns {Point[]}
 */
export function placeWords(ribbons, nodes, space) {
  const samples = ribbons.map(({ line }) => SAMPLES.map((share) => pointOf(line, share)));
  const length = samples.map((points) => Math.hypot(points[30].x - points[0].x, points[30].y - points[0].y));
  const order = ribbons.map((_, number) => number).sort((a, b) => length[a] - length[b]);
  const taken = [...nodes];
  /** @type {Point[]} */
  const found = [];
  for (const number of order) {
    const width = ribbons[number].words.length * LETTER + 6;
    const others = samples.filter((_, other) => other !== number).flat();
    const cost = (/** @type {Box} */ box) => {
      const isOut = box.x < 0 || box.y < 0 || box.x + width > space.width || box.y + LINE > space.height;
      const hits = taken.filter((other) => overlap(box, other)).length;
      return (isOut ? 1000 : 0) + 1000 * hits + 12 * others.filter((point) => overlap(box, { ...point, width: 0, height: 0 })).length;
    };
    const [best] = candidates(ribbons[number], width)
      .map(({ box, far }) => ({ box, cost: cost(box) + far }))
      .sort((a, b) => a.cost - b.cost);
    taken.push(best.box);
    found[number] = { x: best.box.x + width / 2, y: best.box.y + 13 };
  }
  return found;
}

/**
 * Where words may stand, and how far that is from where one looks for them.
 * @param {{line: Curve, width: number}} ribbon @param {number} width of the words
 */
function candidates({ line, width: thick }, width) {
  const at = (/** @type {Point} */ point, /** @type {number} */ dx, /** @type {number} */ dy, /** @type {number} */ far) => ({
    box: { x: point.x + dx - width / 2, y: point.y + dy - LINE / 2, width, height: LINE },
    far,
  });
  const near = SHARES.flatMap((share) => {
    const point = pointOf(line, share);
    const far = 30 * Math.abs(share - 0.5);
    const beside = (width + thick) / 2 + 3;
    const above = (LINE + thick) / 2 + 2;
    return [at(point, 0, -above, far), at(point, 0, above, far + 2), at(point, beside, 0, far + 3), at(point, -beside, 0, far + 3), at(point, 0, 0, far + 5)];
  });
  const middle = pointOf(line, 0.5);
  const further = Array.from({ length: 12 }, (_, row) => [1, -1].map((side) => at(middle, 0, side * LINE * (row + 2), 30 + 4 * row)));
  return [...near, ...further.flat()];
}

/** @param {Box} a @param {Box} b */
function overlap(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}
