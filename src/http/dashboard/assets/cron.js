// Shows under a schedule when it would fire, or what is wrong with it, while it is typed. Knows one form.

export default function cron(form) {
    const field = form.elements.schedule;
    const preview = document.getElementById("schedule-preview");
    let timer, asked = 0;
    field.addEventListener("input", () => {
        clearTimeout(timer);
        timer = setTimeout(look, 250);
    });

    async function previewed(wish) {
        const headers = { Accept: "application/json", "Content-Type": "application/json" };
        const csrf = document.querySelector("meta[name=csrf]")?.content;
        if (csrf) headers["X-CSRF-Token"] = csrf;
        const response = await fetch(form.dataset.preview, { method: "POST", headers, body: JSON.stringify(wish), credentials: "same-origin" });
        const answer = await response.json();
        if (!response.ok) throw new Error(answer.error);
        return answer;
    }

    async function look() {
        const mine = ++asked;
        let words;
        try {
            const answer = await previewed({ schedule: field.value, timezone: form.dataset.zone });
            words = ["It would fire:", ...answer.next.slice(0, 5).map((one) => one.local + (one.shifted ? ` (${one.shifted})` : ""))];
            field.removeAttribute("aria-invalid");
        } catch (error) {
            words = [error.message];
            field.setAttribute("aria-invalid", "true");
        }
        if (mine !== asked) return;
        preview.replaceChildren(...words.map((text) => Object.assign(document.createElement("p"), { textContent: text, className: "small quiet" })));
    }
}
