package api_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"baton/internal/api"
)

// description is what the tests look at in openapi.json.
type description struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Parameters  []struct {
			Name, In string
			Required bool
		}
		Responses map[string]any
	}
	Components struct {
		Responses map[string]any
		Schemas   map[string]struct {
			Required   []string
			Properties map[string]struct{ Type any }
		}
	}
}

func describe(t *testing.T) description {
	t.Helper()
	var d description
	if err := json.Unmarshal(api.OpenAPI(), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOpenAPIRoutes(t *testing.T) {
	d := describe(t)
	described := map[string][]string{}
	ids := map[string]bool{}
	parameter := regexp.MustCompile(`\{(\w+)\}`)
	for path, operations := range d.Paths {
		for method, op := range operations {
			described[path] = append(described[path], strings.ToUpper(method))
			if op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s %s: operationId %q is missing or used twice", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
			var named []string
			for _, p := range op.Parameters {
				if p.In == "path" && p.Required {
					named = append(named, p.Name)
				}
			}
			var needed []string
			for _, m := range parameter.FindAllStringSubmatch(path, -1) {
				needed = append(needed, m[1])
			}
			if !slices.Equal(named, needed) {
				t.Errorf("%s: parameters %v are described, %v are in the path", path, named, needed)
			}
		}
		slices.Sort(described[path])
	}
	served := newServer(t).server.Routes()
	for path, methods := range served {
		if !slices.Equal(described[path], methods) {
			t.Errorf("%s is served for %v and described for %v", path, methods, described[path])
		}
	}
	for path, methods := range described {
		if _, ok := served[path]; !ok {
			t.Errorf("%s %v is described and not served", path, methods)
		}
	}
}

// TestOpenAPISchemas holds every schema against the Go type of the same name.
func TestOpenAPISchemas(t *testing.T) {
	d := describe(t)
	types := []any{
		api.Status{},
		api.ConfigStatus{},
		api.Router{},
		api.Adverts{},
		api.Service{},
		api.Source{},
		api.Quorum{},
		api.RealServer{},
		api.Packets{},
		api.Agent{},
		api.Track{},
		api.Heartbeat{},
		api.ConnectionSync{},
		api.Check{},
		api.ForeignService{},
		api.Keeps{},
		api.Events{},
		api.Event{},
		api.Explanation{},
		api.ServerPatch{},
		api.Overridden{},
		api.Override{},
		api.AbsentOverride{},
		api.CheckPast{},
		api.CheckStreak{},
		api.RouterCommand{},
		api.Outcomes{},
		api.Outcome{},
		api.Reloaded{},
		api.Health{},
		api.Problem{},
	}
	for _, v := range types {
		typ := reflect.TypeOf(v)
		schema, ok := d.Components.Schemas[typ.Name()]
		if !ok {
			t.Errorf("%s has no schema", typ.Name())
			continue
		}
		required := map[string]bool{}
		for f := range typ.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			required[name] = options == ""
			p, ok := schema.Properties[name]
			if !ok {
				t.Errorf("%s.%s is not described", typ.Name(), name)
			} else if want := jsonType(f.Type); want != "" && p.Type != nil && p.Type != want {
				t.Errorf("%s.%s is described as %v, want %s", typ.Name(), name, p.Type, want)
			}
			if slices.Contains(schema.Required, name) != required[name] {
				t.Errorf("%s.%s: required is described as %t", typ.Name(), name, !required[name])
			}
		}
		for name := range schema.Properties {
			if _, ok := required[name]; !ok {
				t.Errorf("%s.%s is described and does not exist", typ.Name(), name)
			}
		}
	}
	if len(d.Components.Schemas) != len(types) {
		t.Errorf("%d schemas are described, %d are tested", len(d.Components.Schemas), len(types))
	}
}

func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "array"
	case reflect.Map:
		return "object"
	case reflect.Int, reflect.Uint8, reflect.Uint32, reflect.Uint64:
		return "integer"
	}
	return ""
}

// TestOpenAPIReferences follows every $ref, and the types of problems.
func TestOpenAPIReferences(t *testing.T) {
	var doc any
	if err := json.Unmarshal(api.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	refs := []string{}
	for _, problem := range []string{api.ProblemInvalidConfig, api.ProblemHandoverFailed} {
		ref, ok := strings.CutPrefix(problem, "/api/v1/openapi.json")
		if !ok {
			t.Errorf("%s is no place in the description", problem)
		}
		refs = append(refs, ref)
	}
	var walk func(v any)
	walk = func(v any) {
		switch x := v.(type) {
		case map[string]any:
			for k, v := range x {
				if k == "$ref" {
					refs = append(refs, v.(string))
				}
				walk(v)
			}
		case []any:
			for _, v := range x {
				walk(v)
			}
		}
	}
	walk(doc)
	for _, ref := range refs {
		if lookup(doc, strings.ReplaceAll(strings.TrimPrefix(ref, "#/"), "/", ".")) == nil {
			t.Errorf("%s leads nowhere", ref)
		}
	}
}

func TestOpenAPIServed(t *testing.T) {
	rec := newServer(t).do(http.MethodGet, "/api/v1/openapi.json", "")
	if rec.Code != http.StatusOK || rec.Body.String() != string(api.OpenAPI()) {
		t.Errorf("status %d, %d bytes", rec.Code, rec.Body.Len())
	}
}
