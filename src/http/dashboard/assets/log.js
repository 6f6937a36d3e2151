// A phase's log: pieces of it, fetched as they are looked at, so that a hundred megabytes open at once. Text only, never markup.

const PIECE = 128 * 1024;
/// Pieces that stay on the page; those farthest from what is looked at go first.
const KEPT = 12;
const STEP = 2 * 1024 * 1024;

const decoder = new TextDecoder("utf-8");

// ---- colours of a terminal as classes ----------------------------------------------------------------------------------

// Everything else that drives a terminal is left out: moving the cursor, titles, links.
const ESCAPES = /\u001b(?:\[([0-9;:]*)([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[PX^_][^\u001b]*(?:\u001b\\)?|[ -/]*[0-~])|[\u0000-\u0008\u000b\u000c\u000e-\u001a\u001c-\u001f\u007f]|\r(?!\n)/g;

function style(state, codes) {
    const list = codes === "" ? [0] : codes.split(/[;:]/).map(Number);
    for (let at = 0; at < list.length; at += 1) {
        const code = list[at];
        if (code === 0) state = {};
        else if (code === 1) state = { ...state, bold: true };
        else if (code === 2) state = { ...state, dim: true };
        else if (code === 4) state = { ...state, underline: true };
        else if (code === 22) state = { ...state, bold: false, dim: false };
        else if (code === 24) state = { ...state, underline: false };
        else if (code >= 30 && code <= 37) state = { ...state, colour: code - 30 };
        else if (code >= 90 && code <= 97) state = { ...state, colour: code - 90 };
        else if (code === 39) state = { ...state, colour: undefined };
        // A colour of many: its own number is passed over, and the text keeps its plain colour.
        else if (code === 38 || code === 48) at += list[at + 1] === 5 ? 2 : list[at + 1] === 2 ? 4 : 0;
    }
    return state;
}

function span(text, state) {
    const classes = [];
    if (state.bold) classes.push("b");
    if (state.dim) classes.push("d");
    if (state.underline) classes.push("u");
    if (state.colour !== undefined) classes.push(`a${state.colour}`);
    if (classes.length === 0) return document.createTextNode(text);
    const element = document.createElement("span");
    element.className = classes.join(" ");
    element.textContent = text;
    return element;
}

function drawn(text) {
    const nodes = [];
    let state = {}, from = 0;
    for (const escape of text.matchAll(ESCAPES)) {
        if (escape.index > from) nodes.push(span(text.slice(from, escape.index), state));
        if (escape[2] === "m") state = style(state, escape[1]);
        else if (escape[0] === "\r") nodes.push(document.createTextNode("\n"));
        from = escape.index + escape[0].length;
    }
    if (from < text.length) nodes.push(span(text.slice(from), state));
    return nodes;
}

// ---- the window --------------------------------------------------------------------------------------------------------

export default function viewer(section) {
    const url = section.dataset.log;
    const lines = section.querySelector("[data-lines]");
    const where = section.querySelector("[data-where]");
    const follow = section.querySelector("#log-follow");
    const search = section.querySelector("#log-search");
    const found = section.querySelector("[data-found]");
    let size = 0, pieces = [], busy = false, source, hit;

    async function fetched(offset, limit) {
        const response = await fetch(`${url}?offset=${offset}&limit=${limit}`, { credentials: "same-origin" });
        if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error ?? `${response.status}`);
        size = Number(response.headers.get("x-log-size"));
        return new Uint8Array(await response.arrayBuffer());
    }

    // A piece is whole lines, where there are lines: it begins behind a line's end and ends with one.
    async function piece(offset, limit) {
        const bytes = await fetched(offset, limit);
        let from = 0, to = bytes.length;
        if (offset > 0) { const at = bytes.indexOf(10); if (at >= 0 && at + 1 < to) from = at + 1; }
        if (offset + to < size) { const at = bytes.lastIndexOf(10); if (at > from) to = at + 1; }
        return { from: offset + from, to: offset + to, bytes: bytes.subarray(from, to) };
    }

    function element(one) {
        one.element = document.createElement("div");
        one.element.append(...drawn(decoder.decode(one.bytes)));
        one.bytes = undefined;
        return one.element;
    }

    function tell(trouble) {
        const mb = (bytes) => (bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
        if (trouble) where.textContent = trouble;
        else if (size === 0) where.textContent = "Nothing was printed.";
        else if (pieces.length === 0) where.textContent = "";
        else {
            const [from, to] = [pieces[0].from, pieces.at(-1).to];
            where.textContent = from === 0 && to >= size ? `All of it, ${mb(size)}` : `From ${mb(from)} to ${mb(to)} of ${mb(size)}; scroll for more`;
        }
    }

    async function guarded(work) {
        if (busy) return;
        busy = true;
        try { await work(); tell(); } catch (error) { tell(`The log cannot be read: ${error.message}`); } finally { busy = false; }
    }

    function clear() {
        pieces = [];
        lines.replaceChildren();
    }

    async function show(offset) {
        clear();
        const one = await piece(Math.max(0, offset), PIECE);
        pieces = [one];
        lines.append(element(one));
    }

    async function toEnd() {
        // The size is in every answer; the first one is asked for nothing else.
        if (size === 0) await fetched(0, 1);
        await show(size - PIECE);
        lines.scrollTop = lines.scrollHeight;
    }

    async function earlier() {
        const first = pieces[0];
        if (!first || first.from === 0) return;
        const offset = Math.max(0, first.from - PIECE);
        const one = await piece(offset, first.from - offset);
        one.to = Math.min(one.to, first.from);
        const height = lines.scrollHeight;
        lines.prepend(element(one));
        pieces.unshift(one);
        lines.scrollTop += lines.scrollHeight - height;
        while (pieces.length > KEPT) pieces.pop().element.remove();
    }

    async function later() {
        const last = pieces.at(-1);
        if (!last || last.to >= size) return;
        const bytes = await fetched(last.to, PIECE);
        let to = bytes.length;
        if (last.to + to < size) { const at = bytes.lastIndexOf(10); if (at >= 0) to = at + 1; }
        const one = { from: last.to, to: last.to + to, bytes: bytes.subarray(0, to) };
        lines.append(element(one));
        pieces.push(one);
        while (pieces.length > KEPT) {
            const height = lines.scrollHeight;
            pieces.shift().element.remove();
            lines.scrollTop -= height - lines.scrollHeight;
        }
    }

    lines.addEventListener("scroll", () => {
        if (lines.scrollTop < 400) guarded(earlier);
        else if (lines.scrollHeight - lines.scrollTop - lines.clientHeight < 400) guarded(later);
    });

    // ---- following -----------------------------------------------------------------------------------------------------

    function stop() {
        source?.close();
        source = undefined;
    }

    async function start() {
        stop();
        await guarded(toEnd);
        source = new EventSource(`${url}/stream?offset=${pieces.at(-1)?.to ?? 0}`);
        source.addEventListener("log", (event) => {
            const text = JSON.parse(event.data);
            const near = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 60;
            const one = { from: pieces.at(-1)?.to ?? 0, to: Number(event.lastEventId), element: document.createElement("div") };
            one.element.append(...drawn(text));
            lines.append(one.element);
            pieces.push(one);
            size = Math.max(size, one.to);
            if (near) {
                lines.scrollTop = lines.scrollHeight;
                while (pieces.length > 4 * KEPT) pieces.shift().element.remove();
            }
            tell();
        });
        source.addEventListener("end", () => { stop(); follow.checked = false; });
    }

    follow.addEventListener("change", () => (follow.checked ? start() : stop()));

    for (const button of section.querySelectorAll("[data-to]")) {
        button.addEventListener("click", () => {
            follow.checked = false;
            stop();
            guarded(async () => {
                if (button.dataset.to === "end") return toEnd();
                await show(0);
                lines.scrollTop = 0;
            });
        });
    }

    // ---- searching -----------------------------------------------------------------------------------------------------

    // Line by line through the whole file, from behind the last hit, and from its beginning once more.
    async function next(word) {
        const wanted = word.toLowerCase();
        if (size === 0) await fetched(0, 1);
        const begin = hit?.word === word ? hit.at + 1 : 0;
        let offset = begin, wrapped = false;
        while (search.value === word) {
            const bytes = await fetched(offset, STEP);
            const text = latin(bytes);
            const at = text.indexOf(latin(new TextEncoder().encode(wanted)));
            if (at >= 0) return { word, at: offset + at };
            if (offset + bytes.length >= size) {
                if (wrapped || begin === 0) return undefined;
                wrapped = true;
                offset = 0;
            } else offset += Math.max(1, bytes.length - wanted.length * 4);
            found.textContent = `searching, ${Math.round((offset / size) * 100)} %`;
        }
        return undefined;
    }

    // One character per byte, letters of the alphabet in lower case: places in it are places in the file.
    function latin(bytes) {
        let text = "";
        for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
        return text.replace(/[A-Z]+/g, (word) => word.toLowerCase());
    }

    function marked(word) {
        const walker = document.createTreeWalker(lines, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const at = walker.currentNode.data.toLowerCase().indexOf(word.toLowerCase());
            if (at < 0) continue;
            const range = document.createRange();
            range.setStart(walker.currentNode, at);
            range.setEnd(walker.currentNode, at + word.length);
            getSelection().removeAllRanges();
            getSelection().addRange(range);
            const box = range.getBoundingClientRect(), frame = lines.getBoundingClientRect();
            lines.scrollTop += box.top - frame.top - frame.height / 3;
            return;
        }
    }

    search.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || !search.value) return;
        event.preventDefault();
        follow.checked = false;
        stop();
        const word = search.value;
        guarded(async () => {
            hit = await next(word);
            found.textContent = hit ? `at ${Math.round((hit.at / Math.max(1, size)) * 100)} %` : "not found";
            if (!hit) return;
            // The piece begins a little before the hit, at a line's end where there is one near.
            await show(0 < hit.at - 2000 ? hit.at - 2000 : 0);
            marked(word);
        });
    });

    if (section.hasAttribute("data-running")) start();
    else guarded(toEnd);
}
