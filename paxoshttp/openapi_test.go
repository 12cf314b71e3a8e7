package paxoshttp

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOpenAPIHasTheCalls: the description has the calls and the codes of the handler, and no others. Module openapitest holds the rest against it.
func TestOpenAPIHasTheCalls(t *testing.T) {
	h := handlerOf(t, &fake{}, Config{})
	code, text := asks(h, "GET", "/openapi.json", "")
	require.Equal(t, 200, code)
	require.Equal(t, string(OpenAPI()), text)
	var doc struct {
		Paths      map[string]map[string]any `json:"paths"`
		Components struct {
			Schemas struct {
				Code struct {
					Enum []Code `json:"enum"`
				}
			} `json:"schemas"`
		} `json:"components"`
	}
	require.NoError(t, json.Unmarshal(OpenAPI(), &doc))
	described := map[string]string{}
	for path, methods := range doc.Paths {
		require.Len(t, methods, 1, path)
		for method := range maps.Keys(methods) {
			described[strings.TrimPrefix(path, "/")] = strings.ToUpper(method)
		}
	}
	served := map[string]string{}
	for call, r := range h.routes {
		served[call] = r.method
	}
	assert.Equal(t, served, described)
	var codes []Code
	for _, k := range kinds {
		codes = append(codes, k.code)
	}
	slices.Sort(codes)
	slices.Sort(doc.Components.Schemas.Code.Enum)
	assert.Equal(t, codes, doc.Components.Schemas.Code.Enum)
	OpenAPI()[0] = 'x'
	assert.Equal(t, byte('{'), OpenAPI()[0], "the bytes are the caller's")
}
