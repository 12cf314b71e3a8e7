package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/recipe/idempotency"
)

// once executes each request with a key at most once, and repeats its response.
func once(store *idempotency.Store, execute func(body string) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		entry, err := store.Begin(r.Context(), r.Header.Get("Idempotency-Key"), string(body)) // a large body would be hashed
		switch {
		case errors.Is(err, idempotency.ErrMismatch):
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		case errors.Is(err, paxos.ErrName):
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		case err != nil:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		switch entry.Phase {
		case idempotency.Mine:
			response := execute(string(body))
			if err := entry.Answer(r.Context(), paxos.Value(response)); err != nil {
				http.Error(w, "executed, but not recorded: "+err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprint(w, response)
		case idempotency.Answered:
			fmt.Fprint(w, entry.Response)
		default: // in progress or abandoned: nobody knows whether it was executed
			http.Error(w, fmt.Sprintf("key %q is %v, by %s", entry.Key, entry.Phase, entry.By), http.StatusConflict)
		}
	})
}

// A client repeats its payment. Then a server crashes before it has recorded the response, and an operator gives the key up.
func Example() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	var stores []*idempotency.Store
	for i, node := range nodes {
		store, err := idempotency.New(node, "payments", fmt.Sprintf("server %d", i+1))
		if err != nil {
			log.Fatal(err)
		}
		stores = append(stores, store)
	}
	payments := 0
	pay := func(body string) string {
		payments++
		return fmt.Sprintf("payment %d: %s", payments, body)
	}
	post := func(server int, key, body string) {
		r := httptest.NewRequest(http.MethodPost, "/pay", strings.NewReader(body))
		r.Header.Set("Idempotency-Key", key)
		w := httptest.NewRecorder()
		once(stores[server], pay).ServeHTTP(w, r)
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	}
	post(0, "k1", "10 to Ada")
	post(1, "k1", "10 to Ada") // the client has got no response, and repeats
	post(1, "k1", "99 to Bob")

	ctx := context.Background()
	crashed, err := stores[0].Begin(ctx, "k2", "20 to Ada") // and then server 1 crashes
	if err != nil {
		log.Fatal(err)
	}
	post(1, "k2", "20 to Ada")
	entry, err := stores[2].Abandon(ctx, "k2", "not in the books of the bank")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(entry.Phase, "by", entry.Closer)
	post(1, "k2", "20 to Ada")
	fmt.Println(errors.Is(crashed.Answer(ctx, "late"), idempotency.ErrAbandoned))
	// Output:
	// 200 payment 1: 10 to Ada
	// 200 payment 1: 10 to Ada
	// 422 idempotency: paxos: begin "payments/k1/1": the key belongs to another request
	// 409 key "k2" is in progress, by server 1
	// abandoned by server 3
	// 409 key "k2" is abandoned, by server 1
	// true
}
