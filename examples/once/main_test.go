package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestAgreement runs the example with 3 and with 9 values. Every server names its proposal, and all of them learn the same one.
func TestAgreement(t *testing.T) {
	menu := strings.Fields("burger pizza kimbap soup rice salad ramen curry tofu")
	for _, n := range []int{3, 9} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var out bytes.Buffer
			require.NoError(t, run(&out, menu[:n]))
			for i, value := range menu[:n] {
				assert.Contains(t, out.String(), fmt.Sprintf("server %d proposes %q\n", i+1, value))
			}
			chosen := regexp.MustCompile(`(?m)^chosen: "(.*)"$`).FindStringSubmatch(out.String())
			require.Len(t, chosen, 2, "%s", &out)
			assert.True(t, slices.Contains(menu[:n], chosen[1]), "%q is one of the proposed values", chosen[1])
			learned := regexp.MustCompile(`(?m)^server (\d+) learned "(.*)" in ballot \d+\.\d+ `).FindAllStringSubmatch(out.String(), -1)
			require.Len(t, learned, n, "%s", &out)
			for i, l := range learned {
				assert.Equal(t, []string{fmt.Sprint(i + 1), chosen[1]}, l[1:])
			}
			assert.True(t, strings.HasSuffix(out.String(), fmt.Sprintf("All %d servers agree on %q, for ever.\n", n, chosen[1])), "in memory there is nothing to look into")
		})
	}
}

// TestOnDisk: the second run reports what the first has decided, and with another number of servers there is none.
func TestOnDisk(t *testing.T) {
	dir := t.TempDir()
	var first, second bytes.Buffer
	require.NoError(t, run(&first, []string{"-dir", dir, "burger", "pizza", "kimbap"}))
	chosen := regexp.MustCompile(`(?m)^chosen: "(.*)"$`).FindStringSubmatch(first.String())
	require.Len(t, chosen, 2, "%s", &first)
	assert.NotContains(t, first.String(), "an earlier run")
	for _, id := range []string{"1", "2", "3"} {
		assert.Contains(t, first.String(), "server "+id+" keeps what it knows in "+filepath.Join(dir, id)+"\n")
	}
	assert.True(t, strings.HasSuffix(first.String(), fmt.Sprintf("    go run ./examples/inspect -instance lunch %q\n", filepath.Join(dir, "1"))), first.String())
	require.NoError(t, run(&second, []string{"-dir", dir, "soup", "salad", "rice"}))
	assert.Contains(t, second.String(), fmt.Sprintf("an earlier run has decided: %q\n", chosen[1]))
	assert.Contains(t, second.String(), fmt.Sprintf("All 3 servers agree on %q, for ever.\n", chosen[1]))
	require.ErrorContains(t, run(&second, []string{"-dir", dir, "soup", "salad", "rice", "ramen"}), "Members")
	require.NoError(t, os.RemoveAll(dir+"/2"))
	require.ErrorContains(t, run(&second, []string{"-dir", dir, "soup", "salad", "rice"}), "its storage is lost")
}

// TestAnyBytes: values are bytes. Equal ones, the empty one and what is no text are values like any others.
func TestAnyBytes(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(&out, []string{"", "", "\xff\x00"}))
	assert.Contains(t, out.String(), "All 3 servers agree on ")
}

func TestUsage(t *testing.T) {
	for _, n := range []int{0, 1, 2, 10} {
		var out bytes.Buffer
		err := run(&out, slices.Repeat([]string{"burger"}, n))
		var usage usageError
		require.ErrorAs(t, err, &usage)
		assert.EqualError(t, err, fmt.Sprintf("got %d values, want 3 to 9", n))
		assert.Empty(t, out.String(), "nothing was started")
	}
	var out bytes.Buffer
	require.NoError(t, run(&out, []string{"-h"}))
	assert.Equal(t, usage, out.String())
}

// TestReport: the example does not say that all agree when they do not.
func TestReport(t *testing.T) {
	burger, pizza := paxos.Decision{Instance: "lunch", Value: "burger"}, paxos.Decision{Instance: "lunch", Value: "pizza"}
	var out bytes.Buffer
	err := report(&out, []paxos.Decision{burger, pizza}, []error{nil, nil})
	assert.EqualError(t, err, `server 2 learned "pizza", server 1 learned "burger"`)
	err = report(&out, []paxos.Decision{burger, {}}, []error{nil, errors.New("no lunch")})
	assert.EqualError(t, err, "server 2: no lunch")
	assert.NotContains(t, out.String(), "agree")
}
