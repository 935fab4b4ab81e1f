package dev

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// routes returns the file with the rules of the gateway. Those for the demo services
// are written anew at each start.
func (s *Stack) routes() (string, error) {
	if s.config.Routes != "" {
		return s.config.Routes, nil
	}
	file := filepath.Join(s.config.Dir, "routes.yaml")
	if err := os.WriteFile(file, []byte(s.table()), 0o600); err != nil {
		return "", fmt.Errorf("writing the rules of the gateway: %w", err)
	}
	return file, nil
}

// table has each service under its own name.
func (s *Stack) table() string {
	var upstreams, rules strings.Builder
	for _, service := range s.services {
		fmt.Fprintf(&upstreams, "  %s:\n    urls: [%s]\n    health: {path: /stats}\n", service.Name(), service.URL())
		if s.mutual != nil {
			fmt.Fprintf(&upstreams, "    spiffe: spiffe://%s/%s\n", trustDomain, service.Name())
		}
		fmt.Fprintf(&rules, "  - {name: %[1]s, path: /%[1]s, methods: [GET], upstream: %[1]s, websocket: true}\n", service.Name())
	}
	return "# Written by authsvc dev at each start. For rules of your own: authsvc dev --routes FILE.\n" +
		"upstreams:\n" + upstreams.String() + "rules:\n" + rules.String()
}
