/**
 * Objects from a stream of JSON lines.
 * @param {ReadableStream<Uint8Array>} stream
 * @param {(object: any) => void} each called for each object, in order
 */
export async function readLines(stream, each) {
    const reader = stream.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
        const { value, done } = await reader.read();
        rest += decoder.decode(value, { stream: !done });
        const lines = rest.split("\n");
        rest = /** @type {string} */ (lines.pop());
        for (const line of lines) if (line) each(JSON.parse(line));
        if (done) break;
    }
    if (rest.trim()) each(JSON.parse(rest));
}
