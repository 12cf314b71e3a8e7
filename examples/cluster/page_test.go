package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPage: the page of one process draws what all of them did, and says which is missing.
func TestPage(t *testing.T) {
	t.Parallel()
	a := newApart(t, program(t), 3)
	_, reach := a.children[0].now()
	require.NoError(t, reach.ready(t.Context(), aWhile))
	_, err := reach.propose(t.Context(), "lunch", "<burger>", aWhile)
	require.NoError(t, err)
	address, err := readPage(a.dir, 1)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) string {
		response, err := client.Get(address + path)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return string(text)
	}
	require.Eventually(t, func() bool {
		page := get("instance?name=lunch")
		return strings.Count(page, ": decided &#34;&lt;burger&gt;&#34;</span>") == 3 && !strings.Contains(page, `class="notes`)
	}, aWhile, 20*time.Millisecond)
	assert.Contains(t, get(""), "lunch</a>")
	require.NoError(t, a.children[2].kill())
	assert.Contains(t, get("instance?name=lunch"), "Server 3: its events are missing: ")
}

// TestPageAlone: a server that finds no other pages still has its own.
func TestPageAlone(t *testing.T) {
	s := startOne(t)
	code, text := asks(t, s, "GET", "/look/", "", nil)
	assert.Equal(t, 200, code)
	assert.Contains(t, text, "This server is the only one.")
	code, _ = asks(t, s, "GET", "/look/", "", func(r *http.Request) { r.Host = "example.org" })
	assert.Equal(t, 403, code)
	_, err := s.trace(t.Context(), 2, "lunch")
	assert.ErrorContains(t, err, "2.page")
	s.config.Pages = ""
	_, err = s.trace(t.Context(), 2, "lunch")
	assert.ErrorContains(t, err, "pages: it is missing")
}
