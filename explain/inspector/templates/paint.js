// Images and maps into canvases. Values of maps are in units of the scale's limit. The blend is explain/inspector/overlay.py's.
function painter(data, arrays) {
  const [height, width] = data.size;
  const plane = height * width;
  const colour = data.channels === 3;
  const share = Float32Array.from({ length: data.levels + 1 }, (_, level) => data.reach * (level / data.levels) ** 2);

  const imageOf = (row) => arrays.images.subarray(row * data.channels * plane, (row + 1) * data.channels * plane);

  // The levels of one map, at its own resolution.
  function levelsOf(view, row, run) {
    const cells = view.layer.grids[run][0] * view.layer.grids[run][1];
    const start = (row * data.targets.length + view.target) * cells;
    return arrays[`${view.method.name}/${view.layer.name}/${run}`].subarray(start, start + cells);
  }

  // A map upsampled to the pixels: rows · map · columns.
  function heat(view, row, run) {
    const levels = levelsOf(view, row, run);
    const tables = view.layer.tables[run];
    const unit = view.layer.scales[view.target].unit;
    const value = share.map((part) => part * unit);
    if (!tables) return Float32Array.from(levels, (level) => value[level]);
    const [rows, columns] = tables;
    const [h, w] = view.layer.grids[run];
    const half = new Float32Array(h * width);
    for (let y = 0; y < h; y++)
      for (let x = 0; x < width; x++)
        for (let c = 0; c < w; c++) half[y * width + x] += columns[x][c] * value[levels[y * w + c]];
    const out = new Float32Array(plane);
    for (let y = 0; y < height; y++)
      for (let r = 0; r < h; r++) {
        const weight = rows[y][r];
        if (weight) for (let x = 0; x < width; x++) out[y * width + x] += weight * half[r * width + x];
      }
    return out;
  }

  const isEmpty = (view, row, run) => levelsOf(view, row, run).every((level) => level === 0);

  function plain(image) {
    const out = new ImageData(width, height);
    for (let i = 0; i < plane; i++) {
      for (let c = 0; c < 3; c++) out.data[4 * i + c] = image[colour ? c * plane + i : i];
      out.data[4 * i + 3] = 255;
    }
    return out;
  }

  function overlay(image, values, strength) {
    const out = new ImageData(width, height);
    const [black, white] = data.ground;
    for (let i = 0; i < plane; i++) {
      const luma = colour ? 0.299 * image[i] + 0.587 * image[plane + i] + 0.114 * image[2 * plane + i] : image[i];
      const grey = 255 * black + (white - black) * luma;
      const value = Math.min(1, values[i]);
      const opacity = strength * Math.sqrt(value);
      const entry = 3 * Math.min(255, Math.floor(256 * value));
      for (let c = 0; c < 3; c++) out.data[4 * i + c] = grey * (1 - opacity) + arrays.colours[entry + c] * opacity;
      out.data[4 * i + 3] = 255;
    }
    return out;
  }

  // Means over rows: of the images, and of each run's maps.
  function means(view, rows) {
    const image = new Float32Array(data.channels * plane);
    const heats = data.names.map(() => new Float32Array(plane));
    for (const row of rows) {
      imageOf(row).forEach((value, i) => { image[i] += value / rows.length; });
      heats.forEach((sum, run) => heat(view, row, run).forEach((value, i) => { sum[i] += value / rows.length; }));
    }
    return { image, heats };
  }

  // The pictures of one card: the image, then each run's overlay; with a slider, one that changes over at `split`, 0..1.
  function pictures(view, image, heats, strength, split) {
    const overlays = heats.map((values) => overlay(image, values, strength));
    if (split === null) return [plain(image), ...overlays];
    const [left, right] = overlays;
    for (let y = 0; y < height; y++)
      for (let x = Math.round(split * width); x < width; x++)
        left.data.set(right.data.subarray(4 * (y * width + x), 4 * (y * width + x) + 4), 4 * (y * width + x));
    return [plain(image), left];
  }

  function legend(canvas) {
    canvas.width = 256;
    canvas.height = 1;
    const out = new ImageData(256, 1);
    for (let i = 0; i < 256; i++) out.data.set([...arrays.colours.subarray(3 * i, 3 * i + 3), 255], 4 * i);
    canvas.getContext("2d").putImageData(out, 0, 0);
  }

  return { imageOf, heat, isEmpty, means, pictures, legend };
}
