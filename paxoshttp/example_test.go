package paxoshttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/paxoshttp"
)

// A host mounts the calls below a prefix of its own mux, beside what else it serves, and says who may do what.
func ExampleNewHandler() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	jobs := paxos.Prefix("job/")
	h, err := paxoshttp.NewHandler(nodes[0], paxoshttp.Config{Allow: func(r *http.Request, a paxoshttp.Action) error {
		for _, names := range a.Names {
			if !jobs.Covers(names) && a.Call != paxoshttp.CallRead {
				return fmt.Errorf("%s of %s: only jobs are written here", a.Call, names)
			}
		}
		return nil
	}})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/registers/", http.StripPrefix("/registers", h))
	server := httptest.NewServer(mux)
	defer server.Close()

	for _, body := range []string{`{"name": "job/7", "value": "worker 3"}`, `{"name": "job/7", "value": "worker 4"}`, `{"name": "lunch", "value": "pizza"}`} {
		answered, err := http.Post(server.URL+"/registers/propose", "application/json", strings.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}
		var a struct{ Name, Value, Code string }
		err = json.NewDecoder(answered.Body).Decode(&a)
		answered.Body.Close()
		fmt.Println(answered.StatusCode, a.Name, a.Value, a.Code, errors.Join(err))
	}
	http.DefaultClient.CloseIdleConnections()
	_, ok, err := nodes[1].Read(context.Background(), "lunch")
	fmt.Println("lunch is decided:", ok, errors.Join(err))
	// Output:
	// 200 job/7 worker 3  <nil>
	// 200 job/7 worker 3  <nil>
	// 403   forbidden <nil>
	// lunch is decided: false <nil>
}
