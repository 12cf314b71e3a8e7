package browsertest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/systeminfo"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

var cost = flag.Duration("cost", 0, "measure for so long what the page costs the browser")

// TestCost measures what the page costs the browser while 10,000 instances are open and 1,000 are decided in a second. It tells of all
// processes of the browser together, without a picture on a screen.
func TestCost(t *testing.T) {
	if *cost == 0 {
		t.Skip("it needs -args -cost 20s")
	}
	s := newSite(t)
	blank := memoryOf(t, s.processes())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 10_000 {
		go s.nodes[0].Wait(ctx, fmt.Sprintf("open/%05d", i))
	}
	go func() {
		ticks := time.NewTicker(10 * time.Millisecond)
		defer ticks.Stop()
		for i := 0; ctx.Err() == nil; <-ticks.C {
			for range 10 {
				i++
				go s.nodes[0].Propose(ctx, fmt.Sprintf("job/%08d/owner", i), paxos.Value(`{"worker":"w1","nonce":"8f3a0017"}`))
			}
		}
	}()
	s.open("")
	s.until(`document.getElementById("open").textContent.includes("10000 open")`)
	decided := func() int {
		return get[int](s, `Number(document.querySelector("#decisions [data-index]").dataset.index)`)
	}
	first, began := decided(), time.Now()
	before := cpuOf(s.processes())
	s.do(chromedp.Evaluate(fmt.Sprintf(`new Promise(done => setTimeout(done, %d))`, cost.Milliseconds()), nil, awaited))
	passed := time.Since(began).Seconds()
	after := cpuOf(s.processes())
	rate := float64(decided()-first) / passed
	var metrics []*performance.Metric
	s.do(performance.Enable(), chromedp.ActionFunc(func(ctx context.Context) (err error) {
		metrics, err = performance.GetMetrics().Do(ctx)
		return err
	}))
	heap := 0.0
	for _, m := range metrics {
		if m.Name == "JSHeapTotalSize" {
			heap = m.Value
		}
	}
	share, memory := (after-before)/passed, memoryOf(t, s.processes())-blank
	t.Logf("%.0f decisions a second shown; %.2f %% of a core; heap %.1f MB, all processes %.1f MB more than with a blank page", rate, 100*share, heap/1e6, memory/1e6)
	assert.InDelta(t, 1000, rate, 200)
	assert.Less(t, share, 0.05)
	assert.Less(t, memory, 50e6)
}

// processes tells of all processes of the browser.
func (s *site) processes() (all []*systeminfo.ProcessInfo) {
	s.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		all, err = systeminfo.GetProcessInfo().Do(cdp.WithExecutor(ctx, chromedp.FromContext(ctx).Browser))
		return err
	}))
	return all
}

func cpuOf(all []*systeminfo.ProcessInfo) (seconds float64) {
	for _, p := range all {
		seconds += p.CPUTime
	}
	return seconds
}

// memoryOf returns the bytes of all processes that no file backs.
func memoryOf(t *testing.T, all []*systeminfo.ProcessInfo) (bytes float64) {
	for _, p := range all {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.ID))
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(text), "RssAnon:")
		kilobytes, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		require.NoError(t, err)
		bytes += kilobytes * 1024
	}
	return bytes
}
