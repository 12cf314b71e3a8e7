package spacetime

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// elements returns the names of the elements of an SVG, each with its attributes and the text in it. It fails if the SVG is not
// well-formed.
func elements(t *testing.T, svg string) (all []string) {
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return all
		}
		require.NoError(t, err, svg)
		switch token := token.(type) {
		case xml.StartElement:
			text := token.Name.Local
			for _, a := range token.Attr {
				text += " " + a.Name.Local + "=" + a.Value
				assert.False(t, a.Name.Local == "style" || strings.HasPrefix(a.Name.Local, "on"), "the content policy forbids %s", a.Name.Local)
			}
			all = append(all, text)
		case xml.CharData:
			if len(all) > 0 {
				all[len(all)-1] += "|" + string(token)
			}
		}
	}
}

func count(all []string, part string) (n int) {
	for _, e := range all {
		if strings.Contains(e, part) {
			n++
		}
	}
	return n
}

// A picture has the rows of the drawing in text, in the same order.
func TestPaintHasTheRowsOfDraw(t *testing.T) {
	for _, d := range drawings {
		t.Run(d.name, func(t *testing.T) {
			var s story
			d.tell(&s)
			lanes := []string{"server 1", "server 2", "server 3", "server 4"}[:d.lanes]
			p := Paint(lanes, s.events)
			all := elements(t, p.SVG)
			rows := plan(d.lanes, s.events)
			require.Len(t, p.Steps, len(rows))
			assert.Equal(t, len(rows), count(all, "g class=step"))
			heads, lost, symbols := 0, 0, 0
			for i, r := range rows {
				for _, m := range r.marks {
					symbols++
					assert.Contains(t, p.Steps[i].Text, lanes[m.lane]+": "+m.text)
				}
				for _, a := range r.arrows {
					switch {
					case a.lost:
						lost++
					case a.half != leaves:
						heads++
					}
					assert.Contains(t, p.Steps[i].Text, lanes[a.to])
				}
				if len(r.arrows) > 0 {
					assert.Contains(t, p.Steps[i].Text, lanes[r.from]+" to ")
					if r.arrows[0].half != enters {
						symbols++
					}
				}
			}
			assert.Equal(t, []int{heads, lost, symbols}, []int{count(all, "class=head"), count(all, "class=lost"), count(all, "class=symbol")})
			for _, lane := range lanes {
				assert.Equal(t, 1, count(all, "|"+lane))
			}
		})
	}
}

// Text stays text.
func TestPaintEscapes(t *testing.T) {
	const bad = `<b>&"'</b><script>alert(1)</script>`
	var s story
	s.note(0, 0, bad)
	s.send(1, 0, 1, 1, bad)
	s.arrive(2, 1)
	s.send(3, 1, 0, 2, "prepare\"><script> x")
	s.lose(9, 2)
	p := Paint([]string{bad, "server 2"}, s.events)
	all := elements(t, p.SVG)
	assert.Zero(t, count(all, "script ")+count(all, "b|"))
	for _, e := range all {
		assert.Contains(t, []string{"svg", "g", "text", "line", "path"}, strings.FieldsFunc(e, func(r rune) bool { return r == ' ' || r == '|' })[0])
	}
	assert.NotContains(t, p.SVG, "<script")
	assert.Contains(t, p.Steps[0].Text, bad, "words are escaped by the page")
}

// A row that takes long says when it ends.
func TestPaintLongRows(t *testing.T) {
	var s story
	s.send(0, 0, 1, 1, "fast")
	s.arrive(10, 1)
	s.send(20, 0, 1, 2, "slow")
	s.arrive(2020, 2)
	p := Paint([]string{"server 1", "server 2"}, s.events)
	assert.Equal(t, []string{"0", "20 ms–2.0 s"}, []string{p.Steps[0].Time, p.Steps[1].Time})
	assert.Equal(t, 1, count(elements(t, p.SVG), "|–2.0 s"))
}

func TestPaintNothing(t *testing.T) {
	p := Paint([]string{"server 1"}, nil)
	elements(t, p.SVG)
	assert.Empty(t, p.Steps)
}

func TestSince(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0", 999: "0", -5: "0", 12345: "12 µs", 1250 * time.Microsecond: "1.25 ms", 47 * time.Millisecond: "47 ms", 3100 * time.Millisecond: "3.1 s"} {
		assert.Equal(t, want, Since(d))
	}
}
