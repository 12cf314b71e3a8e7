//go:build unix

package main

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A process has stopped when pause returns, and goes on after resume.
func TestPauseWaitsForTheProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/task"); err != nil {
		t.Skip("the system does not tell the state of threads")
	}
	c := exec.Command("sleep", "100")
	require.NoError(t, c.Start())
	defer c.Wait()
	defer c.Process.Kill()
	assert.False(t, hasStopped(c.Process.Pid))
	require.NoError(t, pause(c.Process))
	assert.True(t, hasStopped(c.Process.Pid))
	require.NoError(t, resume(c.Process))
	assert.Eventually(t, func() bool { return !hasStopped(c.Process.Pid) }, aWhile, time.Millisecond)
}
