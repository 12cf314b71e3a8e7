package proof_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWideAreaTable simulates callers in every region, and compares the tables of docs/performance.md with the result. With -update it writes
// them.
func TestWideAreaTable(t *testing.T) {
	const seed = 1
	t.Logf("seed %d", seed)
	text := fmt.Sprintf("Seed %d. Median / 99th percentile of %d calls of a caller in each region, in milliseconds. *Mean* is that of the medians.\n", seed, wideCalls)
	for _, n := range wideSizes {
		w := wide{wideRegions(n, wideJitter)}
		text += fmt.Sprintf("\n### %d regions\n\n|  | %s | mean |\n|---|%s---:|\n", n, strings.Join(w.Of, " | "), strings.Repeat("---:|", n))
		for _, m := range wideModes() {
			if _, _, ok := m.needs(w); ok {
				text += m.row(t, w, seed)
			}
		}
	}
	requireSection(t, "wide area", text)
	requireSection(t, "round trips", roundTrips())
}

// roundTrips returns the table of all published round trips.
func roundTrips() string {
	last := len(published) - 1
	text, rule := "| ", "|---"
	for _, p := range published[:last] {
		text, rule = text+" | "+p.region, rule+"|---:"
	}
	text += " |\n" + rule + "|\n"
	for _, p := range published[1:] {
		text += "| " + p.region
		for _, ms := range p.to {
			text += fmt.Sprintf(" | %.1f", ms)
		}
		text += strings.Repeat(" | ", last-len(p.to)) + " |\n"
	}
	return text
}

// row simulates a mode, and returns its row of the table.
func (m mode) row(t *testing.T, w wide, seed uint64) string {
	says := m.says
	if m.leader != nil {
		says = fmt.Sprintf(says, w.Of[m.leader(w)])
	}
	row, callers, sum := "| "+says, 0, time.Duration(0)
	for r := range w.Of {
		took := m.run(t, w, r, seed, wideCalls)
		if took == nil {
			row += " | –"
			continue
		}
		median := took[len(took)/2]
		callers, sum = callers+1, sum+median
		row += fmt.Sprintf(" | %d / %d", wholeMS(median), wholeMS(took[len(took)*99/100-1]))
	}
	return row + fmt.Sprintf(" | %d |\n", wholeMS(sum/time.Duration(callers)))
}

func wholeMS(d time.Duration) int64 { return d.Round(time.Millisecond).Milliseconds() }

// requireSection requires that docs/performance.md has text between the markers of a section, and writes it there with -update.
func requireSection(t *testing.T, section, text string) {
	t.Helper()
	page := filepath.Join("..", "..", "docs", "performance.md")
	whole, err := os.ReadFile(page)
	require.NoError(t, err)
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", section), fmt.Sprintf("<!-- end %s -->\n", section)
	before, rest, found := strings.Cut(string(whole), begin)
	require.True(t, found, "the page has %s", begin)
	was, after, found := strings.Cut(rest, end)
	require.True(t, found, "the page has %s", end)
	if *update && was != text {
		require.NoError(t, os.WriteFile(page, []byte(before+begin+text+end+after), 0o666))
		was = text
	}
	require.Equal(t, was, text, "go test -run '%s' ./internal/proof -update rewrites the section", t.Name())
}
