package main

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestProbe: a probe succeeds if the API answers 200, and an error says what was answered in its place.
func TestProbe(t *testing.T) {
	s := startOne(t)
	ask := func(args ...string) (string, error) {
		var out strings.Builder
		err := run(context.Background(), strings.NewReader(""), &out, append([]string{"probe"}, args...))
		return out.String(), err
	}
	api := s.listener.Addr().String()
	for _, probe := range probes {
		out, err := ask("-api", api, probe)
		assert.NoError(t, err, "%s", probe)
		assert.Equal(t, probe+": ok\n", out)
	}
	require.NoError(t, s.node.Close())
	for _, probe := range []string{"livez", "readyz"} {
		out, err := ask("-api", api, probe)
		assert.ErrorContains(t, err, probe+": 503 Service Unavailable: ")
		assert.Empty(t, out)
	}

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, err = ask("-api", silent.Addr().String(), "-timeout", "10ms", "livez")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, silent.Close())
	_, err = ask("-api", silent.Addr().String(), "livez")
	assert.ErrorContains(t, err, "livez: ")

	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "probe: want one of livez, readyz, healthz"},
		{[]string{"look"}, "probe: want one of"},
		{[]string{"livez", "readyz"}, "probe: want one of"},
		{[]string{"-timeout", "0s", "livez"}, "probe: -timeout: 0s: want more than 0"},
		{[]string{"-api", "8000", "livez"}, "probe: -api: "},
		{[]string{"-api", "::x:1", "livez"}, "probe: -api: "},
		{[]string{"-every", "1s", "livez"}, "-every"},
	} {
		_, err := ask(test.args...)
		var bad usageError
		assert.ErrorAs(t, err, &bad, "%v", test.args)
		assert.ErrorContains(t, err, test.want)
	}
}
