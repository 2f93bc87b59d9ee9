// What is wrong with how a page, or a part of it, looks: a list of sentences, empty if nothing is.
(root) => {
  const found = [];
  const LEAST = 10, CONTRAST = 4.5;
  const name = (e) => {
    const text = (e.textContent || "").trim().replace(/\s+/g, " ").slice(0, 60);
    const kind = e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + (e.classList && e.classList.length ? "." + [...e.classList].join(".") : "");
    return `<${kind}> "${text}"`;
  };
  const seen = (e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const own = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  const rgba = (text) => {
    const numbers = (text.match(/[\d.]+/g) || []).map(Number);
    if (text.startsWith("color(srgb")) return [...numbers.slice(0, 3).map((n) => n * 255), numbers[3] ?? 1];
    return numbers.length < 3 ? null : [...numbers.slice(0, 3), numbers[3] ?? 1];
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const ground = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour && colour[3] > 0) layers.push(colour);
      if (colour && colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, one) => over(one, below), [255, 255, 255]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
  const alpha = (e) => { let all = 1; for (let at = e; at; at = at.parentElement) all *= Number(getComputedStyle(at).opacity); return all; };

  const all = [root, ...root.querySelectorAll("*")].filter(seen);
  for (const e of all) {
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    const svg = e.ownerSVGElement;
    const hides = (way) => ["hidden", "clip"].includes(way);
    if (!svg && e.tagName !== "svg" && box.width > 1 && box.height > 1) {
      if (hides(style.overflowX) && e.scrollWidth > e.clientWidth + 1) found.push(`clipped at its side: ${name(e)} (${e.scrollWidth} of ${e.clientWidth} px)`);
      if (style.overflowX === "auto" && innerWidth >= 1000 && e.scrollWidth > e.clientWidth + 1 && e.querySelector("table")) found.push(`wider than its place: ${name(e)} (${e.scrollWidth} of ${e.clientWidth} px)`);
      if (hides(style.overflowY) && e.scrollHeight > e.clientHeight + 1 && e !== document.documentElement && e !== document.body) found.push(`clipped below: ${name(e)}`);
    }
    if (["IMG", "svg", "CANVAS", "PROGRESS"].includes(e.tagName) && (box.width < 1 || box.height < 1)) found.push(`has no size: ${name(e)}`);
    if (e.tagName === "IMG" && (!e.complete || !e.naturalWidth)) found.push(`did not load: ${name(e)}`);
    if ((e.tagName === "svg" && e.getAttribute("role") === "img" && !e.getAttribute("aria-label")) || (e.tagName === "IMG" && !e.alt)) found.push(`has no text for those who do not see it: ${name(e)}`);
    if (e.tagName === "svg" && e.getAttribute("role") === "img" && !e.querySelector("rect, path, circle, polyline")) found.push(`an empty picture: ${e.getAttribute("aria-label")}`);
    if (e.tagName === "TBODY" && !e.rows.length) found.push(`an empty table: ${name(e.parentElement)}`);
    if (["FIGURE", "P", "H1", "H2", "H3", "FIGCAPTION"].includes(e.tagName) && !e.textContent.trim() && !e.querySelector("svg, img")) found.push(`empty: ${name(e)}`);
    if (!own(e) || ["STYLE", "SCRIPT", "TITLE"].includes(e.tagName)) continue;
    const scale = svg ? e.getScreenCTM().a : 1, size = parseFloat(style.fontSize) * scale;
    if (size < LEAST) found.push(`too small (${size.toFixed(1)} px): ${name(e)}`);
    const colour = rgba(svg ? style.fill : style.color);
    if (colour) {
      const below = ground(e);
      const shown = over([...colour.slice(0, 3), colour[3] * alpha(e) * (svg ? Number(style.fillOpacity) : 1)], below);
      const contrast = ratio(shown, below);
      if (contrast < CONTRAST) found.push(`hard to read (${contrast.toFixed(1)} : 1): ${name(e)}`);
    }
    if (!svg && box.right > document.documentElement.clientWidth + 1) {
      let at = e.parentElement;
      while (at && getComputedStyle(at).overflowX === "visible") at = at.parentElement;
      if (!at || at === document.body || at === document.documentElement) found.push(`beyond the right edge of the page: ${name(e)}`);
    }
  }
  for (const svg of all.filter((e) => e.tagName === "svg")) {
    const frame = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll("text")].filter(seen);
    const boxes = texts.map((t) => t.getBoundingClientRect());
    boxes.forEach((b, i) => {
      if (b.left < frame.left - 1 || b.right > frame.right + 1 || b.top < frame.top - 1 || b.bottom > frame.bottom + 1) found.push(`outside its picture: ${name(texts[i])}`);
      boxes.slice(i + 1).forEach((other, n) => {
        const wide = Math.min(b.right, other.right) - Math.max(b.left, other.left), tall = Math.min(b.bottom, other.bottom) - Math.max(b.top, other.top);
        if (wide > 1 && tall > 4) found.push(`overlapping: ${name(texts[i])} and ${name(texts[i + 1 + n])}`);
      });
    });
  }
  return [...new Set(found)];
}
