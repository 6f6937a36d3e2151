// Shows which arrows belong to the box that one points at. Knows the map and nothing else.

export default function actors() {
    const house = () => document.querySelector(".house svg");
    let chosen;

    function mark() {
        const svg = house();
        if (!svg) return;
        svg.toggleAttribute("data-chosen", Boolean(chosen));
        const near = new Set([chosen]);
        for (const arrow of svg.querySelectorAll(".arrow")) {
            const { from, to } = arrow.dataset;
            const ours = from === chosen || to === chosen;
            arrow.toggleAttribute("data-near", ours);
            if (ours) near.add(from).add(to);
        }
        for (const node of svg.querySelectorAll(".node")) node.toggleAttribute("data-near", near.has(node.dataset.node));
    }

    function choose(id) {
        if (id === chosen) return;
        chosen = id;
        mark();
    }

    const nodeOf = (event) => event.target.closest?.(".house .node:not(.store)")?.dataset.node;
    document.addEventListener("pointerover", (event) => choose(nodeOf(event)));
    document.addEventListener("click", (event) => { if (event.target.closest?.(".house")) choose(nodeOf(event)); });
    document.addEventListener("fresh", mark);
}
