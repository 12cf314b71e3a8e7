package main

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBarsGolden(t *testing.T) {
	svg := bars("Disk & TCP, 3 servers", "Longer is better.", []barGroup{
		{"1 caller", []bar{{"paxos", "2,000/s · 2.00 x", 2000, true}, {"a peer with a long name", "1,000/s · 1.00 x *", 1000, false}}},
		{"16 callers", []bar{{"paxos", "0/s", 0, true}}},
	})
	checkDrawing(t, svg)
	golden(t, "bars.svg", svg)
}

func TestCurvesGolden(t *testing.T) {
	svg := curves(curveChart{title: "Latency", note: "Lower is better.", yText: microsMark,
		xTicks: []tick{{nines(0), "0"}, {nines(0.9), "90 %"}, {nines(0.99), "99 %"}},
		series: []series{
			{"paxos", true, []float64{nines(0), nines(0.5), nines(0.99)}, []float64{80, 100, 900}},
			{"paxos, spread", true, []float64{nines(0), nines(0.9)}, []float64{90, 200}},
			{"hashicorp/raft, 100 ms elections", false, []float64{nines(0), nines(0.9)}, []float64{300, 3000}},
			{"dragonboat, 100 ms elections", false, []float64{nines(0), nines(0.9)}, []float64{1000, 1000}},
		}})
	checkDrawing(t, svg)
	golden(t, "curves.svg", svg)
}

// TestNarrowCurves holds that curves with all but one height, or at one point, are drawn with an axis to read them by.
func TestNarrowCurves(t *testing.T) {
	c := curveChart{yText: microsMark, xTicks: []tick{{0, "1"}, {1, "10"}}, series: []series{{"a", true, []float64{0, 1}, []float64{100, 101}}}}
	low, high := c.span()
	assert.GreaterOrEqual(t, high-low, 0.5)
	assert.NotEmpty(t, logTicks(low, high, c.yText))
	checkDrawing(t, curves(c))
}

// checkDrawing holds that the file is well-formed, and that no text leaves it or lies over another.
func checkDrawing(t *testing.T, svg string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	require.NotContains(t, svg, "NaN")
	require.NotContains(t, svg, "Inf")
	type box struct {
		left, right, y float64
		s              string
	}
	var boxes []box
	for _, m := range regexp.MustCompile(`<text x="(\S+)" y="(\S+)" text-anchor="(\w+)"[^>]*>([^<]*)<`).FindAllStringSubmatch(svg, -1) {
		x, err := strconv.ParseFloat(m[1], 64)
		require.NoError(t, err)
		y, err := strconv.ParseFloat(m[2], 64)
		require.NoError(t, err)
		width := textWidth(m[4])
		left := map[string]float64{"start": x, "middle": x - width/2, "end": x - width}[m[3]]
		boxes = append(boxes, box{left, left + width, y, m[4]})
	}
	require.NotEmpty(t, boxes)
	for i, a := range boxes {
		assert.GreaterOrEqual(t, a.left, 0.0, a.s)
		assert.LessOrEqual(t, a.right, float64(drawingWidth), a.s)
		for _, b := range boxes[:i] {
			apart := a.right <= b.left || b.right <= a.left || a.y-b.y >= fontSize || b.y-a.y >= fontSize
			assert.True(t, apart, "%q lies over %q", a.s, b.s)
		}
	}
}
