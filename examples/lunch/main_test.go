package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const golden = "testdata/lunch.txt"

// TestGolden holds the whole output to testdata/lunch.txt.
func TestGolden(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(&out, nil), "%s", &out)
	if *update {
		require.NoError(t, os.WriteFile(golden, out.Bytes(), 0o666))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String(), "go test ./examples/lunch -update rewrites the file")
	for _, line := range strings.Split(out.String(), "\n") {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 140, "%s", line)
	}
}

// TestEveryRow: there is a scenario for each of S1 to S15.
func TestEveryRow(t *testing.T) {
	rows, names := map[string]bool{}, map[string]bool{}
	for _, s := range scenarios() {
		rows[s.row] = true
		assert.False(t, names[s.name], "%s twice", s.name)
		names[s.name] = true
	}
	for n := 1; n <= 15; n++ {
		assert.True(t, rows["S"+strconv.Itoa(n)], "S%d", n)
	}
}

func TestList(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(&out, []string{"-list"}))
	assert.Equal(t, len(scenarios()), strings.Count(out.String(), "\n"))
	assert.Contains(t, out.String(), "S15  burger-or-pizza")
}

func TestRunOne(t *testing.T) {
	for name, titles := range map[string][]string{
		"S15":             {"S15  burger-or-pizza"},
		"burger-or-pizza": {"S15  burger-or-pizza"},
		"s10":             {"S10  one-vote-missing", "S10  no-votes"},
	} {
		var out bytes.Buffer
		require.NoError(t, run(&out, []string{"-run", name}))
		assert.Equal(t, len(titles), strings.Count(out.String(), "━━ S"))
		for _, title := range titles {
			assert.Contains(t, out.String(), title)
		}
	}
}

// TestReplaced: the picture shows the change, in this order. Burger, for which two of the old three had voted, is what the new three decide.
func TestReplaced(t *testing.T) {
	inOrder(t, "replaced", `accept 1.3 "burger"`, "╳ crashes", "◆ change to {1,2,4}", "accepted 1.2 {1,2,4}", "sealed", "sealed", `◆ propose "pizza"`, "sealed",
		"promise c1:1.1 ┄●", "promised c1:1.1 (1.3", "promise c1:1.1 (1.3", `state: 1.3 "burger"`, "promised c1:1.1 (1.3", `accept c1:1.1 "burger"`, `★ learns "burger", returns it`,
		"complete", "settled", "complete", "╳ crashes", `◆ propose "kimbap", returns`, `"burger"`, `✔ propose "kimbap" on server 4 returned "burger", chosen in ballot c1:1.1`)
}

// TestForgotten: the picture shows the forgetting, in this order. The late accept decides nothing, and a read is told what was forgotten.
func TestForgotten(t *testing.T) {
	out := inOrder(t, "forgotten", `① accept 1.3 "pizza" ─●`, "╳ crashes", `★ learns "burger", returns it`, `◆ forget "lunch" "lunci"`, `■ forgotten "lunch" to "lunci"`,
		`■ forgotten "lunch" to "lunci"`, "◆ returns", "starts again (boot 2)", `① accept 1.3 "pizza" ┄│`, "② nack 1.3: forgotten", `■ forgotten "lunch" to "lunci"`, "◆ read, fails")
	assert.NotContains(t, out, `learns "pizza"`)
	assert.NotContains(t, out, `decided "pizza"`)
}

// TestStanding: the picture shows the standing ballot, in this order. Lunch begins with the accept, and the starter does not.
func TestStanding(t *testing.T) {
	inOrder(t, "standing", `accept 1.3 "soup"`, "stand 1.1", "stood 1.1: votes for", "starter", `accept 1.1 "burger"`, `★ learns "burger", returns it`, "prepare", `"soup"`, "╳ crashes",
		"prepare", `"kimbap"`, "returns it")
}

// TestForwarded: the picture shows a proposal that is forwarded, and one whose receiver dies, in this order.
func TestForwarded(t *testing.T) {
	inOrder(t, "forwarded", `accept 1.3 "soup"`, "stand 1.1", `accept 1.1 "burger"`, `◆ propose "pizza"`, `forward 2.3 "pizza" @dinner`, `accept 1.1 "pizza"`,
		`★ learns "pizza", returns it`, `◆ propose "kimbap"`, "╳ crashes", `forward 3.3 "kimbap" @supper`, `prepare 4.3 "kimbap"`, `★ learns "kimbap", returns it`, `◆ propose "tea"`,
		`prepare 5.3 "tea"`, `★ learns "tea", returns it`)
}

// inOrder plays one scenario, and demands that its output has these parts one after the other.
func inOrder(t *testing.T, name string, parts ...string) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, run(&out, []string{"-run", name}), "%s", &out)
	rest := out.String()
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		require.True(t, found, "%s: after what comes before it, there is no %q in\n%s", name, part, &out)
		rest = after
	}
	return out.String()
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-run", "S160"}, `no scenario "S160"; there are`},
		{[]string{"-run", "brunch"}, "S15  burger-or-pizza"},
		{[]string{"-run", ""}, `no scenario ""`},
		{[]string{"-run"}, "flag needs an argument"},
		{[]string{"-walk"}, "flag provided but not defined"},
		{[]string{"S15"}, `unexpected argument "S15"`},
	} {
		var out bytes.Buffer
		err := run(&out, test.args)
		var usage usageError
		require.ErrorAs(t, err, &usage, "%v", test.args)
		assert.ErrorContains(t, err, test.want)
		assert.Empty(t, out.String())
	}
	var out bytes.Buffer
	require.NoError(t, run(&out, []string{"-h"}))
	assert.Equal(t, usage, out.String())
}

// TestFailureIsAnError: a scenario that does not end as it should, or breaks what must hold, is no success.
func TestFailureIsAnError(t *testing.T) {
	good := scenario{"S1", "good", "", "", func(st *stage) { st.open(paxostest.SimConfig{}) }}
	wrong := scenario{"S2", "wrong", "", "", func(st *stage) {
		st.open(paxostest.SimConfig{})
		st.expect("pigs fly", false)
		burger := st.Propose(1, lunch, "burger")
		st.RunFor(time.Millisecond)
		st.expectResult(burger, "burger", paxos.Ballot{Round: 1, Server: 1})
		st.expectAll("burger")
	}}
	broken := scenario{"S3", "broken", "", "", func(st *stage) {
		st.open(paxostest.SimConfig{})
		st.Until("pigs fly", func() bool { return false })
	}}
	var out bytes.Buffer
	err := play(&out, []scenario{good, wrong, broken})
	require.EqualError(t, err, "these did not end as they should: S2 wrong, S3 broken")
	assert.Equal(t, 4, strings.Count(out.String(), "✘ NOT SO"), "%s", &out)
	assert.Contains(t, out.String(), "never came to this: pigs fly")
}

// TestPage looks at the pages of all scenarios.
func TestPage(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, address := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- serve(ctx, address, "127.0.0.1:0", scenarios()) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	url := strings.TrimSpace(line)
	get := func(path string) string {
		response, err := http.Get(url + path)
		require.NoError(t, err)
		defer response.Body.Close()
		require.Equal(t, http.StatusOK, response.StatusCode, path)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return string(text)
	}
	list := get("")
	for _, s := range scenarios() {
		assert.Contains(t, list, `href="story?name=`+s.name+`"`)
		page := get("story?name=" + s.name)
		assert.Contains(t, page, "<svg", s.name)
		assert.Contains(t, page, "✔", s.name)
		assert.NotContains(t, page, "NOT SO", s.name)
		assert.Equal(t, strings.Count(page, `class="step"`), strings.Count(page, "<li><span class=\"time"), s.name)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	assert.NoError(t, <-served)
	assert.Error(t, serve(t.Context(), io.Discard, "no address", nil))
}
