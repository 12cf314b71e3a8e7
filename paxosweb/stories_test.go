package paxosweb

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/spacetime"
)

// Stories have a list and a page each. All but the SVG is text.
func TestStories(t *testing.T) {
	svg := spacetime.Paint([]string{"server 1"}, []spacetime.Event{{Kind: spacetime.Note, Symbol: '◆', Text: markup}}).SVG
	all := []Story{{Name: "first", Title: markup, About: []string{markup}, SVG: svg, Steps: []string{"0\t" + markup, markup}, Outcome: []string{markup}}, {Name: markup}, {Name: "last"}}
	h, err := NewStories("Lunch", all, nil)
	require.NoError(t, err)
	list := get(t, h, "/").Body.String()
	assert.Contains(t, list, `href="story?name=first"`)
	one := get(t, h, "/any/story?name=first")
	assert.Equal(t, policy, one.Header().Get("Content-Security-Policy"))
	assert.Contains(t, one.Body.String(), "<svg")
	assert.Contains(t, one.Body.String(), `<li><span class="time quiet">0</span> <span>&lt;b`)
	assert.Contains(t, one.Body.String(), `<li><span>&lt;b`)
	assert.Contains(t, one.Body.String(), `rel="next"`)
	assert.NotContains(t, one.Body.String(), `rel="prev"`)
	middle := get(t, h, "/story?name=%3Cb%20id%3D%22x%22%3E%26'%3C%2Fb%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E")
	assert.Equal(t, http.StatusOK, middle.Code)
	assert.Contains(t, middle.Body.String(), `href="story?name=last" rel="next"`)
	assert.Contains(t, middle.Body.String(), `href="story?name=first" rel="prev"`)
	for _, page := range []string{list, one.Body.String(), middle.Body.String()} {
		assert.NotContains(t, page, "<b id")
		assert.NotContains(t, page, "alert(1)</script>")
	}
	assert.Equal(t, http.StatusNotFound, get(t, h, "/story?name=none").Code)
	assert.Equal(t, http.StatusNotFound, get(t, h, "/page.html").Code)
	assert.Equal(t, http.StatusOK, get(t, h, "/style.css").Code)
	shut, err := NewStories("Lunch", all, func(*http.Request) error { return errors.New("no") })
	require.NoError(t, err)
	assert.Equal(t, http.StatusForbidden, get(t, shut, "/").Code)
	for _, bad := range [][]Story{{{}}, {{Name: "a"}, {Name: "a"}}} {
		_, err := NewStories("Lunch", bad, nil)
		assert.ErrorContains(t, err, "name")
	}
}
