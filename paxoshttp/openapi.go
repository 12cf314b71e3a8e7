package paxoshttp

import (
	_ "embed"
	"net/http"
	"slices"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns the description of the calls, in OpenAPI 3.0, as the call openapi.json answers it. The bytes are the caller's.
func OpenAPI() []byte { return slices.Clone(openAPI) }

// describe serves GET openapi.json.
func (h *Handler) describe(w http.ResponseWriter, r *http.Request) error {
	if err := h.allow(r, CallDescribe); err != nil {
		return err
	}
	h.send(w, http.StatusOK, openAPI)
	return nil
}
