// What explain/inspector/packing.py packed, back as numbers: name -> bytes.
async function unpack(data) {
  const letters = atob(data.packed);
  const packed = new Uint8Array(letters.length);
  for (let i = 0; i < packed.length; i++) packed[i] = letters.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const arrays = {};
  for (const [name, [start, length]] of Object.entries(data.places)) arrays[name] = bytes.slice(start, start + length);
  unpredict(arrays.images, data.channels, ...data.size);
  return arrays;
}

// Pixels were stored less their upper and left neighbours, red and blue less green; bytes wrap around by themselves.
function unpredict(images, channels, height, width) {
  const plane = height * width;
  for (let start = 0; start < images.length; start += plane) {
    for (let i = start + width; i < start + plane; i++) images[i] += images[i - width];
    for (let i = start; i < start + plane; i++) if ((i - start) % width) images[i] += images[i - 1];
  }
  if (channels !== 3) return;
  for (let start = 0; start < images.length; start += 3 * plane) {
    for (let i = start; i < start + plane; i++) {
      images[i] += images[i + plane];
      images[i + 2 * plane] += images[i + plane];
    }
  }
}

// A measure's value from its step; NaN where there is none.
function unstep(bytes, i, measure, none) {
  const step = bytes[2 * i] + 256 * bytes[2 * i + 1];
  return step === none ? NaN : measure.low + (measure.high - measure.low) * step / (none - 1);
}
