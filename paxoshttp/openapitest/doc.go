// Package openapitest holds package paxoshttp against its description, openapi.json, with a validator. It is a module of its own, so that no
// user of the library has the validator among the modules that it needs.
package openapitest
