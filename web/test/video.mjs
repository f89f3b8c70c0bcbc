// A film to look at, made by the browser's own encoder: noise, so that it is large enough that seeking takes range reads.
import { readFileSync } from "node:fs";

const muxer = readFileSync(new URL("../node_modules/webm-muxer/build/webm-muxer.js", import.meta.url), "utf8");

/** `seconds` of WebM with an index. Needs a page of its own: the dashboard's policy lets no such script in. */
export async function film(browser, seconds) {
  const page = await browser.newPage();
  // Encoders are for secure pages; this one is never sent to a network.
  await page.route("http://localhost:9/*", (route) => route.fulfill({ contentType: "text/html", body: "<title>film</title>" }));
  await page.goto("http://localhost:9/");
  await page.addScriptTag({ content: muxer });
  const encoded = await page.evaluate(async (length) => {
    const [width, height, rate] = [480, 270, 10];
    const target = new WebMMuxer.ArrayBufferTarget();
    const made = new WebMMuxer.Muxer({ target, video: { codec: "V_VP8", width, height, frameRate: rate } });
    const encoder = new VideoEncoder({ output: (chunk, meta) => made.addVideoChunk(chunk, meta), error: (error) => { throw error; } });
    encoder.configure({ codec: "vp8", width, height, bitrate: 12_000_000, framerate: rate });
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    const picture = context.createImageData(width, height);
    for (let frame = 0; frame < length * rate; frame += 1) {
      for (let at = 0; at < picture.data.length; at += 65_536) crypto.getRandomValues(picture.data.subarray(at, at + 65_536));
      for (let at = 3; at < picture.data.length; at += 4) picture.data[at] = 255;
      context.putImageData(picture, 0, 0);
      const shown = new VideoFrame(canvas, { timestamp: (frame * 1e6) / rate, duration: 1e6 / rate });
      encoder.encode(shown, { keyFrame: frame % rate === 0 });
      shown.close();
      if (encoder.encodeQueueSize > 5) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await encoder.flush();
    made.finalize();
    let text = "";
    const bytes = new Uint8Array(target.buffer);
    for (let at = 0; at < bytes.length; at += 32_768) text += String.fromCharCode(...bytes.subarray(at, at + 32_768));
    return btoa(text);
  }, seconds);
  await page.close();
  return Buffer.from(encoded, "base64");
}
