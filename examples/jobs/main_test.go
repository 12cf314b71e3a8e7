package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxoshttp"
	"github.com/singledecree/paxos/paxostest"
	"github.com/singledecree/paxos/recipe/once"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestOutput: the example says the same each time, but for the worker that gets the first job.
func TestOutput(t *testing.T) {
	read, write, err := os.Pipe()
	require.NoError(t, err)
	stdout := os.Stdout
	defer func() { os.Stdout = stdout }()
	os.Stdout = write
	main()
	require.NoError(t, write.Close())
	text, err := io.ReadAll(read)
	require.NoError(t, err)
	assert.Equal(t, `Three workers want job/1 at the same time.
  job/1: attempt 1 is done, by worker N
Worker 1 takes job/2. Then it is silent, and server 3 dies. Worker 2 takes over.
  job/2: attempt 2 is done, by worker 2
Worker 1 was only slow. It is told:
  once: done "job/2/000000001": another claim holds the job: attempt 2 is held by "worker 2"
`, regexp.MustCompile(`(job/1: .* worker) [123]\n`).ReplaceAllString(string(text), "$1 N\n"))
}

// Three workers want each of 20 jobs, each at another server first. Server 1 crashes in the middle. Each job is done by one worker, and a
// watcher at server 2 is told of each once.
func TestServerCrashes(t *testing.T) {
	for nth := range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := paxostest.NewCluster(t, paxostest.ClusterConfig{})
		var urls []string
		for id := range paxos.ServerID(3) {
			url, stop := serve(c.Node(id + 1))
			defer stop()
			urls = append(urls, url)
		}
		var clients []*paxoshttp.Client
		for i := range urls {
			client, err := paxoshttp.NewClient(paxoshttp.ClientConfig{Servers: append(urls[i:len(urls):len(urls)], urls[:i]...)})
			require.NoError(t, err)
			defer client.Close()
			clients = append(clients, client)
		}
		c.CrashOn(1, paxostest.Match{From: 1, Nth: 20 * (nth + 1)})
		down := c.Node(1)

		const jobs = 20
		told := make(chan string, 2*jobs)
		watching, stopWatching := context.WithCancel(ctx)
		var watcher, workers sync.WaitGroup
		watcher.Go(func() {
			_ = watch(watching, clients[1], func(name string, s once.State) { told <- fmt.Sprint(name, " ", s.Owner) })
		})
		var mu sync.Mutex
		did := map[string]int{}
		for i, client := range clients {
			workers.Go(func() {
				for job := range jobs {
					name := fmt.Sprint("job/", job)
					claim, err := take(ctx, client, name, fmt.Sprint("worker ", i), 0)
					if !assert.NoError(t, err) || claim == nil {
						continue
					}
					assert.NoError(t, claim.Done(ctx, "sent"))
					mu.Lock()
					did[fmt.Sprint(name, " worker ", i)]++
					mu.Unlock()
				}
			})
		}
		workers.Wait()
		<-down.Done()
		got := map[string]int{}
		for range jobs {
			select {
			case job := <-told:
				got[job]++
			case <-ctx.Done():
				t.Fatal("not all jobs are told of")
			}
		}
		stopWatching()
		watcher.Wait()
		assert.Empty(t, told)
		assert.Len(t, did, jobs)
		assert.Equal(t, did, got)
		require.False(t, t.Failed(), nth)
	}
}
