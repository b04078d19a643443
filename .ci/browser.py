"""Drives a headless Chromium over its DevTools protocol, through pipes: see .ci/browser."""

import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

WIDTHS = {1280: 900, 400: 850}
THEMES = ["light", "dark"]
PAGES = ["busy", "hostile", "empty"]
PATIENCE = 30  # seconds that an answer may take


class Browser:
    """One process of the browser, and what it says."""

    def __init__(self, program):
        self.profile = tempfile.mkdtemp(prefix="perdura-browser-")
        commands, self.write = os.pipe()
        self.read, answers = os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe",
                 "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
                 "--force-color-profile=srgb", f"--user-data-dir={self.profile}"]

        def place_pipes():  # the protocol wants 3 and 4
            high = [os.dup2(fd, 100 + n) for n, fd in enumerate((commands, answers))]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen([program, *flags, "about:blank"], close_fds=False, preexec_fn=place_pipes,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={**os.environ, "TZ": "Australia/Adelaide"})
        os.close(commands)
        os.close(answers)
        self.buffer, self.next_id, self.events = b"", 0, []

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def message(self):
        end = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.read], [], [], left)[0]:
                raise SystemExit("the browser does not answer")
            chunk = os.read(self.read, 1 << 20)
            if not chunk:
                raise SystemExit("the browser has ended")
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **params):
        self.next_id += 1
        request = {"id": self.next_id, "method": method, "params": params}
        if session:
            request["sessionId"] = session
        os.write(self.write, json.dumps(request).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.next_id:
                if "error" in message:
                    raise SystemExit(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def wait_for(self, method):
        seen = 0
        while True:
            for event in self.events[seen:]:
                if event.get("method") == method:
                    return
            seen = len(self.events)
            self.events.append(self.message())


class Tab:
    """A page at a width and in a theme."""

    def __init__(self, browser, url, width, theme):
        self.browser, self.url = browser, url
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network", "Audits"]:
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=WIDTHS[width], deviceScaleFactor=1,
                  mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme},
                                                          {"name": "prefers-reduced-motion", "value": "reduce"}])
        browser.events.clear()
        self.call("Page.navigate", url=url)
        browser.wait_for("Page.loadEventFired")

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def ask(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"{script[:80]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def key(self, key, text=None):
        for kind in ["keyDown", "keyUp"]:
            code = {"Enter": 13, "Escape": 27}.get(key, ord(key[0].upper()))
            extra = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **extra)

    def type(self, text):
        for letter in text:
            self.key(letter, letter)

    def click(self, selector):
        self.ask(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center', inline: 'center'}})")
        box = self.ask(f"(b => [b.x + b.width / 2, b.y + b.height / 2])(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")
        for kind in ["mousePressed", "mouseReleased"]:
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def shoot(self, path):
        self.ask("scrollTo(0, 0)")
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 12_000), "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)


# All texts and what is behind them; colours that are not opaque are laid over what is below.
CONTRAST = """(() => {
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const over = (color, below) => {
    paint.fillStyle = `rgb(${below.join(',')})`; paint.fillRect(0, 0, 1, 1);
    paint.fillStyle = color; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const behind = (e) => {
    const chain = []; for (let at = e; at; at = at.parentElement) chain.unshift(at);
    return chain.reduce((below, at) => over(getComputedStyle(at).backgroundColor, below), [255, 255, 255]);
  };
  const light = (rgb) => rgb.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const found = {least: 99, checked: 0, bad: []};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || ['SCRIPT', 'TITLE', 'title'].includes(e.tagName) || !e.checkVisibility()) continue;
    const style = getComputedStyle(e), size = parseFloat(style.fontSize);
    const below = behind(e), color = e.namespaceURI.endsWith('svg') ? style.fill : style.color;
    const [a, b] = [light(over(color, below)), light(below)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    found.checked += 1; found.least = Math.min(found.least, ratio);
    if (ratio < needed) found.bad.push(`${ratio.toFixed(2)}: ${text.slice(0, 40)} (${e.className || e.tagName})`);
  }
  return found;
})()"""

STRANGERS = """[...document.querySelectorAll('*')].flatMap((e) => [
    ...(['IMG', 'IFRAME', 'OBJECT', 'EMBED', 'LINK', 'BASE', 'FORM', 'AUDIO', 'VIDEO', 'image', 'use', 'animate', 'foreignObject']
      .includes(e.tagName) ? [e.outerHTML.slice(0, 100)] : []),
    ...[...e.attributes].filter((a) => /^on|^src|^style$|^xlink/.test(a.name) || (a.name === 'href' && !a.value.startsWith('#')))
      .map((a) => `${e.tagName} ${a.name}=${a.value.slice(0, 80)}`)])
  .concat([['script', 1], ['style', 1], ['main', 1], ['input', 1]].filter(([name, n]) => document.querySelectorAll(name).length !== n).map(String))"""

LOUD = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening",
        "Audits.issueAdded", "Page.downloadWillBegin", "Page.windowOpen"}

problems = []


def check(where, fine, what):
    if not fine:
        problems.append(f"{where}: {what}")


def check_page(tab, where):
    check(where, tab.ask("document.documentElement.scrollWidth <= innerWidth"),
          "scrolls sideways: " + str(tab.ask("[document.documentElement.scrollWidth, innerWidth]")))
    strangers = tab.ask(STRANGERS)
    check(where, not strangers, f"has what it should not: {strangers}")
    contrast = tab.ask(CONTRAST)
    check(where, contrast["checked"] > 50, f"only {contrast['checked']} texts were seen")
    check(where, not contrast["bad"], f"contrast: {contrast['bad'][:8]}")
    for event in tab.browser.events:
        method, params = event.get("method"), event.get("params", {})
        check(where, method not in LOUD, f"{method}: {json.dumps(params)[:300]}")
        if method == "Network.requestWillBeSent":
            check(where, params["request"]["url"] == tab.url, f"requests {params['request']['url']}")
    return contrast


def column(tab, table, index):
    rows = f"[...document.querySelectorAll('{table} tbody tr')].filter(r => !r.hidden)"
    return tab.ask(f"{rows}.map(r => r.cells[{index}].dataset.v ?? r.cells[{index}].textContent.trim())")


def check_sorting(tab, where):
    table, head = "#queues table", "#queues th:nth-child(7)"
    before = column(tab, table, 6)
    tab.click(f"{head} button")
    down = [int(value) for value in column(tab, table, 6)]
    check(where, down == sorted(down, reverse=True) and len(set(down)) > 1, f"a click sorts {before} to {down}")
    check(where, tab.ask(f"document.querySelector('{head}').ariaSort") == "descending", "aria-sort is not descending")
    tab.ask(f"document.querySelector('{head} button').focus()")
    tab.key("Enter", "\r")
    up = [int(value) for value in column(tab, table, 6)]
    check(where, up == sorted(down), f"the Enter key sorts to {up}")
    check(where, tab.ask(f"document.querySelector('{head}').ariaSort") == "ascending", "aria-sort is not ascending")
    tab.click("#queues th:first-child button")
    names = column(tab, table, 0)
    check(where, names == sorted(names, key=str.lower), f"names are sorted as {names}")
    check(where, tab.ask("document.querySelectorAll('#queues th[aria-sort=none]').length") == 9, "two columns are sorted")


def check_searching(tab, where):
    total = tab.ask("document.querySelectorAll('main tbody tr:not([hidden])').length")
    tab.key("/", "/")
    check(where, tab.ask("document.activeElement.id") == "filter", "the key / does not lead to the filter")
    tab.type("webhook serverERROR")
    texts = tab.ask("[...document.querySelectorAll('main table:not([data-fixed]) tbody tr')].filter(r => !r.hidden).map(r => r.textContent)")
    check(where, texts and all("webhook" in text and "ServerError" in text for text in texts), f"the filter leaves {texts}")
    check(where, tab.ask("document.getElementById('found').textContent").startswith(f"{len(texts)} of "), "the number is not told")
    tab.key("Escape")
    check(where, tab.ask("document.querySelectorAll('main tbody tr:not([hidden])').length") == total, "Escape does not clear it")


def check_theme(tab, where, theme):
    color = "getComputedStyle(document.body).backgroundColor"
    before, (time_before, clock_before) = tab.ask(color), tab.ask("[document.querySelector('time').textContent, document.querySelector('[data-clock]').textContent]")
    check(where, tab.ask("document.getElementById('theme').textContent") == {"light": "Dark", "dark": "Light"}[theme], "the theme's button is misnamed")
    tab.click("#theme")
    check(where, tab.ask(color) != before, "the theme does not change")
    check_page(tab, f"{where}, theme by button")
    tab.click("#theme")
    check(where, tab.ask(color) == before, "the theme does not change back")
    tab.click("#zone")
    shown, clock = tab.ask("[document.querySelector('time').textContent, document.querySelector('[data-clock]').textContent]")
    check(where, shown != time_before and clock != clock_before and tab.ask("document.querySelector('.zone').textContent") == "Australia/Adelaide", f"local times: {shown}, {clock}")
    tab.click("#zone")
    check(where, tab.ask("document.querySelector('time').textContent") == time_before, "UTC does not come back")


def check_paper(tab, where, folder):
    data = tab.call("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69)["data"]
    (folder / "busy.pdf").write_bytes(base64.b64decode(data))
    tab.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    seen = tab.ask("""[['.controls', 'nav'].every(s => !document.querySelector(s).checkVisibility()),
        [...document.querySelectorAll('details pre')].every(e => e.checkVisibility({contentVisibilityAuto: true}) && e.getBoundingClientRect().height > 10),
        getComputedStyle(document.querySelector('h1')).color]""")
    check(where, seen[0], "controls are printed")
    check(where, seen[1], "what is folded is not printed")
    check(where, seen[2] == "rgb(27, 30, 34)", f"it is not printed light: {seen[2]}")


def main(program, pages, shots):
    pages, shots = pathlib.Path(pages).resolve(), pathlib.Path(shots).resolve()
    shots.mkdir(parents=True, exist_ok=True)
    begin, least, texts = time.monotonic(), 99, 0
    browser = Browser(program)
    try:
        for page in PAGES:
            url = (pages / page / "page.html").as_uri()
            for width in WIDTHS:
                for theme in THEMES:
                    where = f"{page} at {width}, {theme}"
                    tab = Tab(browser, url, width, theme)
                    tab.shoot(shots / f"{page}-{width}-{theme}.png")
                    tab.ask("document.querySelectorAll('details').forEach(d => { d.open = true; })")
                    contrast = check_page(tab, where)
                    least, texts = min(least, contrast["least"]), texts + contrast["checked"]
                    tab.shoot(shots / f"{page}-{width}-{theme}-open.png")
                    tab.ask("document.querySelectorAll('details').forEach(d => { d.open = false; })")
                    if page == "busy":
                        check_sorting(tab, where)
                        check_searching(tab, where)
                        check_theme(tab, where, theme)
                        if (width, theme) == (1280, "dark"):
                            check_paper(tab, where, shots)
                    tab.close()
    finally:
        browser.close()
    for problem in problems:
        print(problem)
    print(f"{texts} texts, least contrast {least:.2f}; screenshots in {shots}; {time.monotonic() - begin:.0f} s")
    cases = len(PAGES) * len(WIDTHS) * len(THEMES)
    failed = len({problem.split(":")[0].split(", theme by")[0] for problem in problems})
    print(f"{cases - failed} passed, {failed} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
