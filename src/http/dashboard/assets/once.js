// What is shown once: secrets in the answer of a form, and a button that makes one up. Knows one element and its forms.

export default function once(element) {
    element.addEventListener("click", (event) => {
        const button = event.target.closest("[data-generate]");
        if (!button) return;
        const field = document.getElementById(button.dataset.generate);
        field.value = made();
        field.focus();
        field.select();
    });
    element.addEventListener("done", (event) => {
        const form = event.target;
        const secret = event.detail?.[form.dataset.reveal];
        if (form.dataset.reset !== undefined) form.reset();
        if (secret) reveal(secret, form.dataset);
    });
}

function made() {
    const bytes = crypto.getRandomValues(new Uint8Array(32));
    return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

// A dialog that cannot be closed by accident: what it shows is nowhere else.
function reveal(secret, { revealTitle = "The new secret", revealWords = "It is shown this once. Copy it now and give it to the receiver." }) {
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "reveal-title");
    const title = Object.assign(document.createElement("h2"), { id: "reveal-title", textContent: revealTitle });
    const words = Object.assign(document.createElement("p"), { textContent: revealWords });
    const box = document.createElement("div");
    box.className = "code wrapped";
    const pre = document.createElement("pre");
    const code = Object.assign(document.createElement("code"), { textContent: secret });
    pre.append(code);
    box.append(pre);
    const buttons = document.createElement("div");
    buttons.className = "buttons";
    const copy = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy" });
    copy.dataset.copy = secret;
    const close = Object.assign(document.createElement("button"), { type: "button", className: "primary", textContent: "I have it" });
    close.addEventListener("click", () => dialog.close());
    buttons.append(copy, close);
    dialog.append(title, words, box, buttons);
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
}
