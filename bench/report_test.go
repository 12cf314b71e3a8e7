package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReplaceSection(t *testing.T) {
	page := "# Speed\n<!-- begin gap -->\nold\n<!-- end gap -->\nprose\n"
	assert.Equal(t, "# Speed\n<!-- begin gap -->\nnew\n<!-- end gap -->\nprose\n", replaceSection(page, "gap", "new\n"))
	assert.Equal(t, page+"\n<!-- begin sweep -->\nnew\n<!-- end sweep -->\n", replaceSection(page, "sweep", "new\n"))
	assert.Equal(t, "<!-- begin gap -->\nnew\n<!-- end gap -->\n", replaceSection("", "gap", "new\n"))
}

// someReport has made-up figures of all that o plans.
func someReport(t *testing.T, args ...string) report {
	t.Helper()
	o, err := parse(args)
	require.NoError(t, err)
	name, p := o.plan()
	rep := report{Name: name, Machine: "2 cores, somewhere", Rounds: 2, Seconds: 1}
	for round := range 2 {
		for i, j := range jobs(p, nil, o.warm, o.window) {
			v := float64(i + round + 1)
			r := result{Decisions: 1000, PerSecond: 100 * v, P50: v, P99: 3 * v, P999: 4 * v, Max: 5 * v, Before: v, After: 10 * v}
			for k := range curveAt {
				r.Curve = append(r.Curve, v*float64(k+1))
			}
			if i%5 == 4 {
				r.OtherCPU = 0.5
			}
			if j.Work.Change != "" {
				r.Changed = &changed{}
				for k, figure := range r.Changed.figures() {
					*figure = v * float64(k+1)
				}
			}
			if j.Work.Decided > 0 {
				r.Memory = &v
			}
			rep.Runs = append(rep.Runs, run{round, j, r})
		}
	}
	return rep
}

// TestReports holds that each report can be written, is the same when it is drawn again from its JSON, and that its drawings
// are readable.
func TestReports(t *testing.T) {
	for _, args := range [][]string{{}, {"-sweep", "-huge"}, {"-gap"}, {"-change"}} {
		rep := someReport(t, args...)
		dir, again := t.TempDir(), t.TempDir()
		require.NoError(t, rep.write(dir))
		data := filepath.Join(dir, "performance", rep.Name+".json")
		var out bytes.Buffer
		require.NoError(t, bench(t.Context(), []string{"-draw", data, "-out", again}, &out, nil))
		assert.Contains(t, out.String(), "2 cores, somewhere. Median of 2 rounds")
		assert.Contains(t, out.String(), `\*`)
		files, err := filepath.Glob(filepath.Join(dir, "performance", "*"))
		require.NoError(t, err)
		require.Greater(t, len(files), 1)
		for _, file := range append(files, filepath.Join(dir, "performance.md")) {
			first, err := os.ReadFile(file)
			require.NoError(t, err)
			name, err := filepath.Rel(dir, file)
			require.NoError(t, err)
			second, err := os.ReadFile(filepath.Join(again, name))
			require.NoError(t, err)
			assert.Equal(t, string(first), string(second), name)
			if filepath.Ext(file) == ".svg" {
				checkDrawing(t, string(first))
			}
		}
	}
}

func TestReadReportRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"Name": "x"}`), 0o644))
	_, err := readReport(file)
	assert.ErrorContains(t, err, `"x" is no report`)
}

// TestPage holds that the page of the repository has a place for each report.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../docs/performance.md")
	require.NoError(t, err)
	for name := range sections {
		assert.Contains(t, string(page), "<!-- begin "+name+" -->\n")
		assert.Contains(t, string(page), "<!-- end "+name+" -->\n")
	}
}

// TestChangeSection holds what the tables of a change say, and how they say it.
func TestChangeSection(t *testing.T) {
	golden(t, "change.md", someReport(t, "-change", "-beside", "1000").text())
}
