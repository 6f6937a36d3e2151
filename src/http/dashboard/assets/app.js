// The dashboard's one module: times, live parts, forms, keys. Pages work without it, as far as looking goes.

const root = document.documentElement;
const base = root.dataset.base ?? "";
const signedIn = root.hasAttribute("data-signed-in");
root.toggleAttribute("data-scripted", true);

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

// ---- times -----------------------------------------------------------------------------------------------------------

const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "long" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const clock = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const STEPS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];

function relative(milliseconds) {
    let value = milliseconds / 1000;
    if (Math.abs(value) < 5) return "just now";
    for (const [unit, most] of STEPS) {
        if (Math.abs(value) < most) return ago.format(Math.trunc(value), unit);
        value /= most;
    }
    return "";
}

function length(milliseconds) {
    const s = Math.max(0, Math.floor(milliseconds / 1000));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

function put(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

function showTimes(within = document) {
    const now = Date.now();
    for (const time of $$("time[datetime]", within)) {
        const at = Date.parse(time.dateTime);
        if (Number.isNaN(at)) continue;
        if (!time.title) time.title = exact.format(at);
        put(time, time.dataset.show === "clock" ? clock.format(at) : relative(at - now));
    }
    for (const span of $$("[data-since]", within)) put(span, length(now - Date.parse(span.dataset.since)));
}

// ---- theme -----------------------------------------------------------------------------------------------------------

function setTheme(theme) {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    // The server reads the cookie, so that the first paint of the next page is right.
    const age = theme ? 31536000 : 0;
    document.cookie = `firstlight_theme=${theme ?? ""}; path=${base}/admin; max-age=${age}; samesite=lax`;
}

function toggleTheme() {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const theme = dark ? "light" : "dark";
    try { localStorage.setItem("firstlight-theme", theme); } catch { /* the cookie alone will do */ }
    setTheme(theme);
}

addEventListener("storage", (event) => {
    if (event.key === "firstlight-theme") setTheme(event.newValue ?? undefined);
});

// ---- words that come and go --------------------------------------------------------------------------------------------

export function toast(words) {
    const note = document.createElement("p");
    note.className = "toast";
    note.textContent = words;
    $("#toasts").append(note);
    setTimeout(() => note.remove(), 6000);
}

function confirmed(words, yes) {
    const dialog = $("#confirm");
    if (!dialog) return Promise.resolve(confirm(words));
    $("#confirm-words").textContent = words;
    $("#confirm-yes").textContent = yes;
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}

// A session that has ended is told once; the page stays as it is.
export function sessionEnded() {
    const dialog = $("#ended");
    if (!dialog || dialog.open) return;
    const here = location.pathname.slice(base.length) + location.search;
    $("[data-sign-in]", dialog).href = `${base}/admin/login?next=${encodeURIComponent(here)}`;
    dialog.showModal();
}

// ---- the API ---------------------------------------------------------------------------------------------------------

function freshKey() {
    return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function call(url, body, method = "POST") {
    const headers = { Accept: "application/json", "Content-Type": "application/json", "Idempotency-Key": freshKey() };
    const csrf = $("meta[name=csrf]")?.content;
    if (csrf) headers["X-CSRF-Token"] = csrf;
    let response;
    try {
        const sent = body === undefined ? undefined : JSON.stringify(body);
        response = await fetch(url, { method, headers, body: sent, credentials: "same-origin" });
    } catch {
        throw new Error("The service cannot be reached. Nothing was changed; try again in a moment.");
    }
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    if (response.status === 401 && signedIn) sessionEnded();
    throw new Error(answer.error ?? `The service answered ${response.status}.`);
}

function fieldsOf(form) {
    const body = {};
    for (const field of form.elements) {
        if (!field.name || field.disabled || field.localName === "button" || (field.type === "radio" && !field.checked)) continue;
        const as = field.dataset.as;
        let value = field.value;
        if (as === "flag") value = field.type === "checkbox" ? field.checked : value === "true";
        else if (field.type === "checkbox") { if (!field.checked) continue; }
        if (as === "member") {
            at(body, field.name, [...(read(body, field.name) ?? []), value]);
            continue;
        }
        if (as !== "flag" && value === "" && !field.hasAttribute("data-empty")) continue;
        if (as === "number") value = Number(value);
        if (as === "list") value = value.split(/[\n,]/).map((one) => one.trim()).filter(Boolean);
        if (as === "json") {
            try { value = JSON.parse(value); } catch (error) { throw new Error(`${field.labels?.[0]?.textContent ?? field.name}: ${error.message}`); }
        }
        at(body, field.name, value);
    }
    return body;
}

function at(body, path, value) {
    const keys = path.split(".");
    const last = keys.pop();
    let inner = body;
    for (const key of keys) inner = inner[key] ??= {};
    inner[last] = value;
}

function read(body, path) {
    return path.split(".").reduce((inner, key) => inner?.[key], body);
}

function filled(template, answer, as = encodeURIComponent) {
    return template.replace(/\{(\w+)\}/g, (_, key) => as(answer[key] ?? ""));
}

async function goOn(element, answer) {
    if (element.dataset.done) toast(filled(element.dataset.done, answer, String).trim());
    if (element.dataset.then) location.assign(filled(element.dataset.then, answer));
    else await refresh();
}

document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-api]");
    if (!button || button.form?.dataset.api) return;
    const words = button.dataset.confirm;
    if (words && !(await confirmed(words, button.textContent.trim()))) return;
    button.disabled = true;
    try {
        const body = button.dataset.body ? JSON.parse(button.dataset.body) : undefined;
        await goOn(button, await call(button.dataset.api, body, button.dataset.method));
    } catch (error) {
        toast(error.message);
    } finally {
        button.disabled = false;
    }
});

document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.dataset.signIn === undefined && !form.dataset.api) return;
    event.preventDefault();
    const trouble = $(".trouble", form);
    trouble.textContent = "";
    const by = event.submitter;
    try {
        const body = fieldsOf(form);
        if (by?.name) at(body, by.name, by.value);
        const words = by?.dataset.confirm ?? form.dataset.confirm;
        if (words && !(await confirmed(words, by.textContent.trim()))) return;
        by?.setAttribute("aria-busy", "true");
        const answer = await call(form.dataset.api, body, form.dataset.method);
        if (form.dataset.signIn !== undefined) location.assign(form.dataset.signIn);
        else if (form.dispatchEvent(new CustomEvent("done", { detail: answer, bubbles: true, cancelable: true }))) await goOn(form, answer);
    } catch (error) {
        trouble.textContent = error.message;
    } finally {
        by?.removeAttribute("aria-busy");
    }
});

// ---- live parts ------------------------------------------------------------------------------------------------------

function mark(state, words) {
    const live = $("#live");
    if (!live) return;
    if (live.dataset.state !== state) live.dataset.state = state;
    put($(".words", live), words);
}

// What the reader has done to a part survives its exchange: open details, places scrolled to, focus, text in fields.
function keptOf(part) {
    const key = (element) => element.id || element.dataset.keep || "";
    return {
        open: $$("details[open]", part).map(key).filter(Boolean),
        shut: $$("details:not([open])", part).map(key).filter(Boolean),
        scrolled: $$("pre, [data-scroll]", part).map((one, at) => [at, one.scrollTop, one.scrollLeft]),
        focus: part.contains(document.activeElement) ? address(document.activeElement, part) : undefined,
        fields: $$("input, textarea, select", part).filter((one) => one.id && one.value !== one.defaultValue).map((one) => [one.id, one.value]),
    };
}

function address(element, part) {
    if (element.id) return `#${CSS.escape(element.id)}`;
    const href = element.getAttribute("href");
    if (href) return `${element.localName}[href="${CSS.escape(href)}"]`;
    const all = $$(element.localName, part);
    return { name: element.localName, place: all.indexOf(element) };
}

function putBack(part, kept) {
    for (const key of kept.open) $(`details[id="${CSS.escape(key)}"], details[data-keep="${CSS.escape(key)}"]`, part)?.setAttribute("open", "");
    for (const key of kept.shut) $(`details[id="${CSS.escape(key)}"], details[data-keep="${CSS.escape(key)}"]`, part)?.removeAttribute("open");
    const scrolls = $$("pre, [data-scroll]", part);
    for (const [place, top, left] of kept.scrolled) if (scrolls[place]) Object.assign(scrolls[place], { scrollTop: top, scrollLeft: left });
    for (const [id, value] of kept.fields) { const field = $(`#${CSS.escape(id)}`, part); if (field) field.value = value; }
    if (!kept.focus) return;
    const found = typeof kept.focus === "string" ? $(kept.focus, part) : $$(kept.focus.name, part)[kept.focus.place];
    found?.focus({ preventScroll: true });
}

// What the server said last, to tell news from repetition.
const sent = new WeakMap();

function exchange(fresh, wanted) {
    for (const part of $$("[data-live]")) {
        if (!part.id || (wanted && !wanted.has(part.id))) continue;
        const next = fresh.getElementById(part.id);
        const text = next?.innerHTML;
        if (!next || text === sent.get(part)) continue;
        // What comes once is looked after by its own module from then on.
        if (part.dataset.once !== undefined && part.childElementCount > 0) continue;
        const kept = keptOf(part);
        part.replaceChildren(...next.childNodes);
        sent.set(part, text);
        putBack(part, kept);
        showTimes(part);
        bring(part);
        part.dispatchEvent(new CustomEvent("fresh", { bubbles: true }));
    }
}

let fetching, again, wantedParts = new Set();

export async function refresh(parts) {
    if (!signedIn) return;
    for (const part of parts ?? $$("[data-live]").map((one) => one.id)) wantedParts.add(part);
    if (fetching) { again = true; return fetching; }
    fetching = (async () => {
        do {
            again = false;
            const wanted = wantedParts;
            wantedParts = new Set();
            try {
                const response = await fetch(location.href, { headers: { "X-Fragment": [...wanted].join(" ") }, credentials: "same-origin" });
                if (response.redirected && new URL(response.url).pathname === `${base}/admin/login`) return sessionEnded();
                if (!response.ok) throw new Error(`${response.status}`);
                exchange(new DOMParser().parseFromString(await response.text(), "text/html"), wanted);
            } catch (error) {
                // What was not brought is still wanted.
                for (const part of wanted) wantedParts.add(part);
                throw error;
            }
        } while (again);
        freshAt = Date.now();
        if (source?.readyState === EventSource.OPEN) mark("live", "live");
    })();
    try { await fetching; } finally { fetching = undefined; }
}

// The stream goes on from where it stood before the page was made: nothing is missed in between.
let freshAt = Date.now(), waits = new Set(), timer, source, tries = 0, opened = false, place = root.dataset.place;

// `data-live` lists kinds, or one thing of a kind: `run:<id>`, which also means what belongs to it (`<id>/<phase>`).
function concerns(part, { kind, id }) {
    return part.dataset.live.split(" ").some((word) => {
        const at = word.indexOf(":");
        if (at < 0) return word === kind;
        const of = word.slice(at + 1);
        return word.slice(0, at) === kind && (id === of || id.startsWith(`${of}/`));
    });
}

function heard(change) {
    for (const part of $$("[data-live]")) if (part.id && concerns(part, change)) waits.add(part.id);
    if (waits.size > 0) timer ??= setTimeout(flush, 200);
}

async function flush() {
    const parts = waits;
    waits = new Set();
    timer = undefined;
    try { await refresh(parts); } catch { stale(); timer ??= setTimeout(flush, 5000); }
}

function stale() {
    mark("stale", `stale since ${new Date(freshAt).toLocaleTimeString()}`);
}

function listen() {
    const kinds = new Set($$("[data-live]").flatMap((part) => part.dataset.live.split(" ").map((word) => word.split(":")[0])));
    source = new EventSource(`${base}/admin/api/stream?kinds=${[...kinds].filter(Boolean).join()}&last_event_id=${encodeURIComponent(place)}`);
    source.addEventListener("open", () => {
        tries = 0;
        mark("live", "live");
        if (opened) waits = new Set($$("[data-live]").map((one) => one.id)), timer ??= setTimeout(flush, 50);
        opened = true;
    });
    source.addEventListener("change", (event) => {
        place = event.lastEventId || place;
        try { heard(JSON.parse(event.data)); } catch { /* not ours to judge */ }
    });
    source.addEventListener("reset", () => { waits = new Set($$("[data-live]").map((one) => one.id)); timer ??= setTimeout(flush, 50); });
    source.addEventListener("error", lostIt);
}

async function lostIt() {
    if (source.readyState === EventSource.CLOSED) {
        source.close();
        const signed = await fetch(`${base}/admin/api/session`, { credentials: "same-origin" }).then((answer) => answer.status, () => 0);
        if (signed === 401) return sessionEnded();
        setTimeout(listen, Math.min(15000, 1000 * 2 ** tries));
    }
    tries += 1;
    if (tries > 3) stale();
    else mark("reconnecting", "reconnecting");
}

// ---- keys ------------------------------------------------------------------------------------------------------------

function rows() {
    return $$("a.row").filter((one) => one.offsetParent !== null);
}

function step(by) {
    const all = rows();
    if (all.length === 0) return;
    const now = all.indexOf(document.activeElement);
    all[now < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, now + by))].focus();
}

let went = 0;
document.addEventListener("keydown", (event) => {
    const writes = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key === "Escape" && writes) writes.blur();
    if (writes || event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
    const { key } = event;
    if (Date.now() - went < 1200) {
        went = 0;
        const link = $(`#nav a[data-key="${CSS.escape(key)}"]`);
        if (link) { event.preventDefault(); link.click(); }
        return;
    }
    if (key === "g") went = Date.now();
    else if (key === "/") {
        const field = $("[data-search], .filters input[type=search]");
        if (field) { event.preventDefault(); field.focus(); field.select(); }
    } else if (key === "?") $("#help")?.showModal();
    else if (key === "j") step(1);
    else if (key === "k") step(-1);
});

// ---- small things ----------------------------------------------------------------------------------------------------

document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-do], [data-copy], [data-copy-next]");
    if (!button) return;
    if (button.dataset.do === "theme") toggleTheme();
    else if (button.dataset.do === "help") $("#help").showModal();
    else if (button.dataset.do === "sign-out") {
        try { await call(`${base}/admin/api/logout`); } catch { /* signed out or not, the way leads there */ }
        location.assign(`${base}/admin/login`);
    } else if (button.dataset.copy !== undefined || button.dataset.copyNext !== undefined) {
        const text = button.dataset.copy ?? $("code", button.parentElement).textContent;
        try { await navigator.clipboard.writeText(text); toast("Copied."); } catch { toast("The browser does not allow copying here."); }
    }
});

// A choice filters at once; what is typed does so with Enter. Empty fields stay out of the address.
document.addEventListener("change", (event) => {
    const form = event.target.closest(".filters");
    if (form && event.target.matches("select, input[type=checkbox]")) form.requestSubmit();
    if (event.target.matches("select[data-go]")) event.target.form.requestSubmit();
});
document.addEventListener("submit", (event) => {
    if (!event.target.matches(".filters")) return;
    for (const field of event.target.elements) if (field.name && field.value === "") field.disabled = true;
});
addEventListener("pageshow", () => $$(".filters [disabled]").forEach((field) => { field.disabled = false; }));

// Further modules of one page: `data-module` names the address.
function bring(within = document) {
    for (const element of $$("[data-module]", within)) import(element.dataset.module).then((module) => module.default(element));
}
bring();

// What no change tells of is asked for now and then, as long as somebody looks.
for (const part of $$("[data-every]")) {
    setInterval(() => { if (!document.hidden) refresh([part.id]).catch(stale); }, 1000 * Number(part.dataset.every));
}

for (const part of $$("[data-live]")) sent.set(part, part.innerHTML);
showTimes();
setInterval(showTimes, 1000);
if (signedIn && $("[data-live]")) listen();
