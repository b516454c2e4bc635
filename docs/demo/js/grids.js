// Where the tiles of a large picture lie, as `taskodec.stream.grids`.

/**
 * Rows and columns of tiles of at most `limit` pixels each, those with the fewest pixels in all.
 *
 * Of each tile along a side `start` to `stop` is kept, and `first` to `last` looked at.
 */
export function grid([height, width], align, margin, limit) {
  margin = Math.ceil(margin / align) * align;
  let best = [align, align];
  let fewest = Infinity;
  for (let count = 1; count <= Math.ceil(height / align); count++) {
    const tall = core(height, count, align);
    const longest = Math.floor(limit / Math.min(height, tall + 2 * margin));
    const wide = width <= longest ? width : Math.floor((longest - 2 * margin) / align) * align;
    if (wide <= 0) continue;
    const across = Math.ceil(width / wide);
    const pixels = (height + 2 * margin * (count - 1)) * (width + 2 * margin * (across - 1));
    if (pixels < fewest) {
      best = [tall, core(width, across, align)];
      fewest = pixels;
    }
  }
  return { rows: spans(height, best[0], align, margin), columns: spans(width, best[1], align, margin) };
}

/** What one of `count` tiles keeps, as even as the alignment lets it be. */
function core(size, count, align) {
  return Math.ceil(size / (count * align)) * align;
}

function spans(size, step, align, margin) {
  const found = [];
  for (let start = 0; start < size; start += step) {
    const stop = Math.min(start + step, size);
    const last = Math.min(Math.ceil(stop / align) * align + margin, size);
    found.push({ start, stop, first: Math.max(start - margin, 0), last });
  }
  return found;
}
