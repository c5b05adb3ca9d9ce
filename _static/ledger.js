// The ledger is filtered, sorted and addressed. Without scripts the whole list stands there.
// The address holds what is chosen: ledger.html#verdict=undecided&sort=held, or #3174499 for a claim.
document.addEventListener("DOMContentLoaded", () => {
  const ledger = document.querySelector(".an-ledger");
  if (!ledger) return;
  const claims = [...ledger.querySelectorAll(".an-claim")];
  const kind = (claim) => claim.dataset.verdict.replace(/ when .*/, " when");
  const VERDICTS = ["holds", "holds in part", "holds only when", "does not hold", "undecided",
    "not yet measured"];
  const SORTS = {
    "": ["the book's order", (claim) => Number(claim.dataset.order)],
    verdict: ["verdict", (claim) => VERDICTS.indexOf(kind(claim))],
    held: ["core parts held", (claim) => -claim.dataset.held - !/^not yet/.test(kind(claim))],
    title: ["claim, A to Z", (claim) => claim.querySelector(".an-title").textContent],
  };
  const form = Object.assign(document.createElement("form"), {className: "an-filter"});
  const add = (label, control, name) => {
    const field = document.createElement("label");
    control.name = name;
    field.append(label, control);
    form.append(field);
    return control;
  };
  const choose = (label, name, options) => {
    const select = add(label, document.createElement("select"), name);
    for (const [value, text] of options) select.add(new Option(text, value));
    return select;
  };
  const all = (values) => [["", "all"], ...values.map((value) => [value, value])];
  const chapters = [...new Set(claims.map((claim) => claim.dataset.chapter))];
  const controls = {
    verdict: choose("Verdict", "verdict",
      all(VERDICTS.filter((verdict) => claims.some((claim) => kind(claim) === verdict)))),
    chapter: choose("Chapter", "chapter", all(chapters)),
    sort: choose("Sort by", "sort", Object.entries(SORTS).map(([value, [text]]) => [value, text])),
    words: add("Words", Object.assign(document.createElement("input"), {type: "search"}), "words"),
  };
  const count = Object.assign(document.createElement("output"), {className: "an-count"});
  form.append(count);

  const chosen = () => Object.entries(controls).filter(([, {value}]) => value);
  const show = () => {
    const {verdict, chapter, sort, words} = controls;
    const said = words.value.toLowerCase();
    const key = SORTS[sort.value][1];
    const before = (a, b) => (a < b ? -1 : Number(a > b));
    const order = (a, b) => before(key(a), key(b)) || a.dataset.order - b.dataset.order;
    const focused = document.activeElement;
    ledger.append(...[...claims].sort(order).map((claim) => claim.parentElement));
    if (ledger.contains(focused)) focused.focus();
    for (const claim of claims) {
      claim.parentElement.hidden = !((!verdict.value || kind(claim) === verdict.value)
        && (!chapter.value || claim.dataset.chapter === chapter.value)
        && claim.textContent.toLowerCase().includes(said));
    }
    const shown = claims.filter((claim) => !claim.parentElement.hidden).length;
    count.value = shown < claims.length ? `${shown} of ${claims.length} claims` : "";
  };
  let claim = "";
  const write = () => {
    const state = new URLSearchParams(chosen().map(([name, {value}]) => [name, value]));
    const plain = claim && !state.size;
    if (claim && !plain) state.set("claim", claim);
    const hash = plain ? claim : state.toString();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  };
  const read = () => {
    const hash = location.hash.slice(1).replace(/^claim-/, "");
    const state = new URLSearchParams(/^\d+$/.test(hash) ? {claim: hash} : hash);
    for (const [name, control] of Object.entries(controls)) {
      control.value = state.get(name) ?? "";
      if (control.selectedIndex === -1) control.value = "";
    }
    show();
    const wanted = claims.find(({id}) => id === state.get("claim"));
    if (!wanted) return;
    claim = wanted.id;
    wanted.open = true;
    wanted.scrollIntoView();
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { show(); write(); });
  for (const each of claims) {
    each.querySelector("summary").addEventListener("click", () => {
      claim = each.open ? "" : each.id;  // it is about to turn
      write();
    });
  }
  addEventListener("hashchange", read);
  ledger.before(form);
  read();
});
