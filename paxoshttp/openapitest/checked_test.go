package openapitest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos/paxoshttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A checked handler holds every question and every answer against the description. It notes what has occurred.
type checked struct {
	t       *testing.T
	handler http.Handler
	doc     *openapi3.T
	router  routers.Router

	mu       sync.Mutex
	statuses map[string]bool // "GET /read 200"
	codes    map[paxoshttp.Code]bool
}

func newChecked(t *testing.T) *checked {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(paxoshttp.OpenAPI())
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))
	doc.Servers = nil // it is relative: any place
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	return &checked{t: t, doc: doc, router: router, statuses: map[string]bool{}, codes: map[paxoshttp.Code]bool{}}
}

func (c *checked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	assert.NoError(c.t, err)
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	c.handler.ServeHTTP(answer, r)
	r.Body = io.NopCloser(bytes.NewReader(body))
	c.check(r, answer)
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	w.Write(answer.Body.Bytes())
}

// check holds a question and its answer against the description. A question that it does not allow must have been refused.
func (c *checked) check(r *http.Request, answer *httptest.ResponseRecorder) {
	what := fmt.Sprintf("%s %s: %d %.300s", r.Method, r.URL, answer.Code, answer.Body)
	route, parameters, err := c.router.FindRoute(r)
	if err != nil { // there is no such call
		assert.Contains(c.t, []int{404, 405}, answer.Code, what)
		c.visit("Failure", answer.Body.Bytes(), what)
		c.note("", answer)
		return
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	question := &openapi3filter.RequestValidationInput{Request: r, PathParams: parameters, Route: route, Options: options}
	if err := openapi3filter.ValidateRequest(context.Background(), question); err != nil {
		assert.GreaterOrEqual(c.t, answer.Code, 400, "%s: the description does not allow it: %v", what, err)
		assert.Less(c.t, answer.Code, 500, "%s: %v", what, err)
	}
	if kind := answer.Header().Get("Content-Type"); answer.Code == 200 && kind != "application/json" {
		c.checkStream(route, kind, answer, what)
	} else {
		input := &openapi3filter.ResponseValidationInput{RequestValidationInput: question, Status: answer.Code, Header: answer.Header(),
			Body: io.NopCloser(bytes.NewReader(answer.Body.Bytes())), Options: options}
		assert.NoError(c.t, openapi3filter.ValidateResponse(context.Background(), input), what)
	}
	c.note(r.Method+" "+route.Path, answer)
}

// checkStream holds each line of a watch against the description.
func (c *checked) checkStream(route *routers.Route, kind string, answer *httptest.ResponseRecorder, what string) {
	response := route.Operation.Responses.Status(200).Value
	require.Contains(c.t, response.Content, kind, what)
	for name, header := range response.Headers {
		assert.NoError(c.t, header.Value.Schema.Value.VisitJSON(answer.Header().Get(name)), name)
	}
	for text := range strings.Lines(answer.Body.String()) {
		if kind == "text/event-stream" {
			data, ok := strings.CutPrefix(text, "data: ")
			if !ok {
				continue
			}
			text = data
		}
		if strings.TrimSpace(text) != "" {
			c.visit("Line", []byte(text), what)
			c.noteCode([]byte(text))
		}
	}
}

// visit holds JSON against a schema.
func (c *checked) visit(schema string, text []byte, what string) {
	var v any
	if assert.NoError(c.t, json.Unmarshal(text, &v), what) {
		assert.NoError(c.t, c.doc.Components.Schemas[schema].Value.VisitJSON(v), what)
	}
}

func (c *checked) note(call string, answer *httptest.ResponseRecorder) {
	c.mu.Lock()
	c.statuses[fmt.Sprint(call, " ", answer.Code)] = true
	c.mu.Unlock()
	if answer.Code != 200 {
		c.noteCode(answer.Body.Bytes())
	}
}

func (c *checked) noteCode(text []byte) {
	var f struct {
		Code paxoshttp.Code `json:"code"`
	}
	assert.NoError(c.t, json.Unmarshal(text, &f))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes[f.Code] = true
}

// complete checks that all that is described has occurred.
func (c *checked) complete() {
	for path, item := range c.doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				what := method + " " + path + " " + status
				assert.True(c.t, c.statuses[what], "%s is described, and has not occurred", what)
			}
		}
	}
	for _, code := range c.doc.Components.Schemas["Code"].Value.Enum {
		assert.True(c.t, c.codes[paxoshttp.Code(code.(string))], "the code %s has not occurred", code)
	}
}
