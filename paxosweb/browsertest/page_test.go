package browsertest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// The page loads, without an error and from one origin, and shows what there is.
func TestLoad(t *testing.T) {
	s := newSite(t)
	s.propose("lunch", "burger")
	s.open("")
	s.until(`document.getElementById("link").textContent === "live"`)
	assert.Equal(t, "lunch", s.text("h1"))
	assert.Equal(t, "All 3 servers are connected.", s.text("#headline"))
	assert.Contains(t, s.text("#decisions"), "burger")
	assert.Contains(t, s.text("#open"), "Nothing is open.")
	assert.Equal(t, []string{"Servers", "Look at one name", "Decisions", "Open", "Members"}, get[[]string](s, `[...document.querySelectorAll("main section")].map(s => document.getElementById(s.getAttribute("aria-labelledby")).textContent)`),
		"each section has its name")
	assert.Equal(t, "rgb(251, 251, 250)", get[string](s, `getComputedStyle(document.body).backgroundColor`), "the style sheet is there")
	assert.Len(t, s.requests, 5, "the page, its style sheet, script and icon, and its news")
}

// Decisions and open instances come without a reload. A part that somebody uses stays as it is until then.
func TestLiveUpdate(t *testing.T) {
	s := newSite(t)
	s.propose("first", "one")
	s.open("")
	s.do(chromedp.Evaluate(`window.loaded = "once"`, nil))
	s.propose("second", "two")
	s.until(`document.getElementById("decisions").textContent.includes("second")`)
	assert.Equal(t, "second", get[string](s, `document.querySelector("tr.fresh a").textContent`), "what is new is marked")

	s.do(chromedp.Focus(`#decisions a`, chromedp.ByQuery))
	s.propose("third", "three")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go s.nodes[0].Wait(ctx, "dinner")
	s.until(`document.getElementById("open").textContent.includes("dinner")`)
	assert.NotContains(t, s.text("#decisions"), "third", "the focus is there")
	assert.Equal(t, "second", get[string](s, `document.activeElement.textContent`))
	s.do(chromedp.Focus(`#name`, chromedp.ByQuery))
	s.until(`document.getElementById("decisions").textContent.includes("third")`)

	s.do(chromedp.Click(`#hold`, chromedp.ByQuery))
	assert.Equal(t, "held", s.text("#link"))
	s.propose("fourth", "four")
	cancel()
	s.do(chromedp.Evaluate(`new Promise(done => setTimeout(done, 1200))`, nil, awaited))
	assert.NotContains(t, s.text("#decisions"), "fourth")
	s.do(chromedp.Click(`#hold`, chromedp.ByQuery))
	s.until(`document.getElementById("decisions").textContent.includes("fourth")`)
	s.until(`document.getElementById("open").textContent.includes("Nothing is open.")`)
	assert.Equal(t, "once", get[string](s, `window.loaded`), "it was never loaded again")
}

// When the server goes away the page says so, and keeps what it has.
func TestServerGoes(t *testing.T) {
	s := newSite(t)
	s.propose("lunch", "burger")
	s.open("")
	s.until(`document.getElementById("link").textContent === "live"`)
	s.nodes[1].Close()
	s.nodes[0].Close()
	s.until(`document.getElementById("headline").textContent.includes("This server has stopped.")`)
	assert.Contains(t, s.text("#decisions"), "burger")
}

// The diagram goes forward and back, by mouse and by keyboard. All of it shows at first.
func TestStep(t *testing.T) {
	s := newSite(t)
	s.propose("lunch", "burger")
	s.openInstance("lunch")
	rows := get[int](s, `document.querySelectorAll(".spacetime .step").length`)
	require.Greater(t, rows, 10)
	later := func() int { return get[int](s, `document.querySelectorAll(".spacetime .later").length`) }
	told := func() string { return s.text("#told") }
	assert.Zero(t, later())
	assert.Equal(t, fmt.Sprintf("%d of %d. All steps are shown. Go back, or begin with the first.", rows, rows), told())
	s.do(chromedp.Click(`[data-go=first]`, chromedp.ByQuery))
	assert.Equal(t, rows-1, later())
	assert.Equal(t, fmt.Sprintf(`1 of %d. server 1: propose "burger"`, rows), told())
	s.do(chromedp.Click(`[data-go=on]`, chromedp.ByQuery), chromedp.Click(`[data-go=on]`, chromedp.ByQuery))
	assert.Equal(t, rows-3, later())
	s.do(chromedp.Click(`[data-go=back]`, chromedp.ByQuery))
	assert.Contains(t, told(), fmt.Sprintf(`2 of %d. server 1 to server 2`, rows))
	assert.Equal(t, 1, get[int](s, `document.querySelectorAll(".spacetime .now").length`))
	assert.Equal(t, get[string](s, `document.querySelector(".steps [aria-current=step] span:last-child").textContent`), get[string](s, `document.getElementById("told").textContent.replace(/^.*?[.] /, "")`))

	s.do(chromedp.Focus(`#step`, chromedp.ByQuery), chromedp.KeyEvent(kb.ArrowRight))
	assert.Contains(t, told(), fmt.Sprintf("3 of %d. ", rows))
	assert.Equal(t, told(), get[string](s, `document.getElementById("step").getAttribute("aria-valuetext")`))
	s.do(chromedp.KeyEvent(kb.End))
	assert.Zero(t, later())
	s.do(chromedp.Focus(`[data-go=on]`, chromedp.ByQuery), chromedp.KeyEvent(kb.Enter))
	assert.Equal(t, "Forward", get[string](s, `document.activeElement.textContent`), "the end does not take the focus away")
	assert.Equal(t, "true", get[string](s, `document.activeElement.getAttribute("aria-disabled")`))
}

// Without script the whole page and the whole diagram show, and the form works.
func TestNoScript(t *testing.T) {
	s := newSite(t)
	s.propose("lunch", "burger")
	s.do(emulation.SetScriptExecutionDisabled(true))
	s.open("")
	assert.Contains(t, s.text("#decisions"), "burger")
	assert.Contains(t, s.text("#servers"), "server 3")
	assert.NotContains(t, s.text("header"), "Hold", "what needs a script is not there")
	s.do(chromedp.SendKeys("#name", "lunch"+kb.Enter, chromedp.ByQuery), chromedp.WaitVisible(".spacetime", chromedp.ByQuery))
	assert.Contains(t, s.text(".outcome"), "burger")
	assert.NotContains(t, s.text("figure"), "Forward")
	text := s.text(".steps")
	for _, want := range []string{`propose "burger"`, "prepare 1.1", "promise 1.1", "accept 1.1", "accepted 1.1", "chosen 1.1", `server 3: decided "burger"`} {
		assert.Contains(t, text, want)
	}
	s.do(chromedp.Click(`header a`, chromedp.ByQuery), chromedp.WaitVisible("#servers", chromedp.ByQuery))
}

func longText(n int) string { return strings.Repeat("x", n) }

// awaited lets an Evaluate wait for the promise that it returns.
func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// In a narrow window nothing sticks out but the diagram, which scrolls by itself.
func TestNarrow(t *testing.T) {
	s := newSite(t)
	name := "a/very/long/name/" + longText(200)
	s.propose(name, "v")
	s.propose("job/0017", paxos.Value(longText(5000)))
	s.do(emulation.SetDeviceMetricsOverride(320, 640, 1, true))
	for _, open := range []func(){func() { s.open("") }, func() { s.openInstance(name) }, func() { s.openInstance("job/0017") }} {
		open()
		assert.LessOrEqual(t, get[int](s, `document.scrollingElement.scrollWidth`), 320)
	}
	assert.Greater(t, get[int](s, `document.querySelector(".scroll").scrollWidth`), 320)
	s.do(chromedp.Click(`[data-go=first]`, chromedp.ByQuery))
	assert.Equal(t, 320, get[int](s, `window.innerWidth`))
}

// A name that is markup is text, in every place.
func TestMarkup(t *testing.T) {
	const markup = `"><img src=x onerror=alert(1)><script>alert(2)</script><svg onload=alert(3)>&lt;'`
	s := newSite(t)
	s.propose("first", "v")
	s.open("")
	s.propose(markup, markup)
	s.until(`document.querySelector("#decisions a").textContent.includes("onerror")`)
	assert.Equal(t, markup, get[string](s, `document.querySelector("#decisions a").textContent`))
	assert.Equal(t, markup, get[string](s, `document.querySelector("#decisions .value").textContent`))
	s.do(chromedp.Click(`#decisions a`, chromedp.ByQuery), chromedp.WaitVisible(".spacetime", chromedp.ByQuery))
	assert.Equal(t, markup, s.text("h1"))
	assert.Equal(t, markup+" · lunch", get[string](s, `document.title`))
	assert.Equal(t, []int{0, 1, 1}, get[[]int](s, `["img", "script", "svg"].map(tag => document.querySelectorAll(tag).length)`))
	assert.Contains(t, get[string](s, `document.querySelector(".spacetime").textContent`), `><img src=x`)
}

// All text can be read, in light and in dark: its contrast is 4.5 at least, as WCAG asks.
func TestContrast(t *testing.T) {
	s := newSite(t)
	s.propose("lunch", "burger")
	s.nodes[2].Close()
	for _, scheme := range []string{"light", "dark"} {
		s.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
		for _, open := range []func(){func() { s.open("") }, func() { s.openInstance("lunch") }} {
			open()
			low := get[[]string](s, contrast)
			assert.Empty(t, low, scheme)
		}
	}
	assert.Equal(t, "rgb(19, 21, 25)", get[string](s, `getComputedStyle(document.body).backgroundColor`), "dark is dark")
}

// contrast returns the texts that are hard to read.
const contrast = `(() => {
  const parse = text => (text.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = el => {
    for (; el; el = el.parentElement) {
      const c = parse(getComputedStyle(el).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const el of document.querySelectorAll("body *")) {
    if (![...el.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || !el.getClientRects().length || el.getAttribute("aria-disabled") === "true") continue;
    const style = getComputedStyle(el), ink = parse(el.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(el))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push(el.textContent + ": " + ratio.toFixed(2));
  }
  return bad;
})()`
