package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEndsAlthoughTheDiskHangs: SIGTERM ends a server whose disk hangs for ever, in Open and in a Save, with a last line that says so.
func TestEndsAlthoughTheDiskHangs(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a process can't send a signal to another there")
	}
	program := sabotaged(t, "hanging", "wal.Open(", "openHanging(", "Storage: s.log,", "Storage: &hanging{s.log},", "s.log.Close()", "closeHanging(s.log)")
	for _, where := range []string{"Open", "Save"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			configs, err := localConfigs(1)
			require.NoError(t, err)
			err = makeCerts(dir, localCluster, time.Hour, configs[0].Acceptors)
			require.NoError(t, err)
			require.NoError(t, createOnce(dir, configs))
			file := filepath.Join(dir, "1.json")
			require.NoError(t, configs[0].write(file))
			if where == "Open" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, "1.hangs"), nil, 0o600))
			}
			ctx, cancel := context.WithTimeout(context.Background(), aWhile)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, "serve", "-config", file)
			out, log := newBook(), newBook()
			cmd.Stdout, cmd.Stderr = out, log
			require.NoError(t, cmd.Start())
			if where == "Save" {
				out.says(t, "\n")
				var s serving
				require.NoError(t, json.Unmarshal([]byte(out.String()), &s))
				answered, err := http.Post("http://"+s.API+"/v1/propose?timeout=10ms", "application/json", bytes.NewReader([]byte(`{"name":"a","value":"v"}`)))
				require.NoError(t, err)
				require.NoError(t, answered.Body.Close())
				http.DefaultClient.CloseIdleConnections()
				assert.Equal(t, http.StatusGatewayTimeout, answered.StatusCode)
			}
			log.says(t, "the disk hangs in "+where)
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			cmd.Wait()
			assert.Equal(t, 1, cmd.ProcessState.ExitCode(), "it ends by itself: %s", log)
			assert.Contains(t, log.String(), "cluster: the disk does not answer: server 1 on "+filepath.Join(dir, "1")+" has not ended within 4s; what was acknowledged is kept\n")
		})
	}
}

// TestEndsWithin: a call that ends by itself gives its own error, at any time. One that does not is left when its time is over.
func TestEndsWithin(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	own := errors.New("its own")
	assert.Equal(t, own, endsWithin(ctx, time.Nanosecond, "it", func() error { return own }))
	assert.NoError(t, endsWithin(ctx, aWhile, "it", func() error {
		cancel()
		return nil
	}))
	release := make(chan struct{})
	defer close(release)
	assert.ErrorContains(t, endsWithin(ctx, time.Nanosecond, "it", func() error {
		<-release
		return nil
	}), "it has not ended within 1ns")
}
