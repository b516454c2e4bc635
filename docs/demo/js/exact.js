// Numbers that are the same on every machine, as `taskodec.stream.exact`: sums, products, quotients and powers of two
// are rounded alike everywhere; `Math.exp` is not, so exp is computed in integers.

export const ACTIVATIONS = 255;
export const LOG_FIRST = -2.2072749131897207; // log 0.11, the smallest scale
export const LOG_UNIT = 0.007690924958005241; // log(256 / 0.11) / 63 / 16
export const MEAN_UNIT = 2 ** -10;

const BITS = 160n; // after the point
const DIGITS = 25; // of Python's decimal numbers in between
const EVEN = 1.5 * 2 ** 52;

/** The nearest whole number of |x| < 2^51, of two the even one. */
export function rint(x) {
  return x + EVEN - EVEN;
}

export function clip(x, low, high) {
  return Math.min(Math.max(x, low), high);
}

/**
 * The row at a quality of levels `{data, shape: [L, C]}`, which stand for the qualities `knots`, ascending: linearly
 * interpolated, in doubles.
 */
export function between({ data, shape: [levels, channels] }, quality, knots) {
  let low = 0;
  while (low < levels - 2 && quality >= knots[low + 1]) low++;
  const share = (quality - knots[low]) / (knots[low + 1] - knots[low]);
  return Float64Array.from({ length: channels }, (_, c) => {
    const first = data[low * channels + c];
    return first + share * (data[(low + 1) * channels + c] - first);
  });
}

/** The integers, within ±`room`, that stand for a real bias in units of `unit / 2^shift`. */
export function wholeBias(real, unit, shift, room) {
  return Float64Array.from(real, (value, i) =>
    clip(rint((value / unit[i]) * 2 ** Number(shift[i])), -room[i], room[i]),
  );
}

/** exp(x), |x| < 700, rounded to 25 digits and then to the nearest double. */
export function exactExp(x) {
  const [value, scale] = expRatio(x);
  let digits = DIGITS - 1 - Math.floor(x / Math.LN10); // after the point; put right below
  const decimal = () => {
    const [p, q] = digits < 0 ? [1n, 10n ** BigInt(-digits)] : [10n ** BigInt(digits), 1n];
    return [divided(value * p, scale * q), p, q];
  };
  let [whole, p, q] = decimal();
  for (const [wrong, by] of [
    [whole >= 10n ** BigInt(DIGITS), -1],
    [whole < 10n ** BigInt(DIGITS - 1), 1],
  ]) {
    if (wrong) {
      digits += by;
      [whole, p, q] = decimal();
    }
  }
  return nearestDouble(whole * q, p);
}

/** exp(x) as a ratio of integers: x = n / 2^8 + r, exp by its series of r / 2^8, squared eight times. */
function expRatio(x) {
  const one = 1n << BITS;
  const fixed = fixedPoint(x);
  const halvings = BigInt(Math.max(0, Math.ceil(Math.log2(Math.abs(x) + 1)) + 8));
  const small = fixed >> halvings;
  let [sum, term] = [one, one];
  for (let k = 1n; term !== 0n && k < 60n; k++) {
    term = (term * small) / (k << BITS);
    sum += term;
  }
  for (let k = 0n; k < halvings; k++) sum = (sum * sum) >> BITS;
  return [sum, one];
}

/** x times 2^BITS; exact for |x| >= 2^-100. */
function fixedPoint(x) {
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(x) || 1)), -300) - 54;
  const mantissa = BigInt(Math.trunc(x * 2 ** -exponent));
  const shift = BITS + BigInt(exponent);
  return shift < 0n ? mantissa >> -shift : mantissa << shift;
}

/** n / d of positive integers to the nearest integer, of two the even one. */
function divided(n, d) {
  const [quotient, rest] = [n / d, (n % d) * 2n];
  return rest > d || (rest === d && quotient & 1n) ? quotient + 1n : quotient;
}

/** n / d of positive integers to the nearest double, for normal ones. */
function nearestDouble(n, d) {
  let exponent = n.toString(2).length - d.toString(2).length - 53; // n / d / 2^exponent has 53 or 54 bits
  const scaled = () => (exponent < 0 ? divided(n << BigInt(-exponent), d) : divided(n, d << BigInt(exponent)));
  if (scaled() >= 1n << 53n) exponent++;
  return Number(scaled()) * 2 ** exponent;
}
