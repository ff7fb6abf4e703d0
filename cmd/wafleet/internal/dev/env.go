package dev

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"
)

// envFile holds what programs need to know, in the data folder.
const envFile = "dev.env"

// env is what dev.env holds.
type env struct {
	URL, APIKey, AdminKey, SimURL, Tenant, Group string
}

// pairs are the variables, in their order in the file.
func (e *env) pairs() [][2]string {
	list := [][2]string{
		{"WAFLEET_URL", e.URL},
		{"WAFLEET_API_KEY", e.APIKey},
		{"WAFLEET_ADMIN_KEY", e.AdminKey},
		{"WAFLEET_TENANT", e.Tenant},
		{"WASIM_URL", e.SimURL},
		{shop.variable, shop.number},
	}
	for _, a := range contacts() {
		list = append(list, [2]string{a.variable, a.number})
	}
	return append(list, [2]string{"GROUP_CHAT", e.Group})
}

// readEnv reads the keys of an earlier start; what it does not find is empty.
func readEnv(path string) (e env, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err != nil {
		return e, fmt.Errorf("read the keys of the last start: %w", err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		switch name {
		case "WAFLEET_API_KEY":
			e.APIKey = value
		case "WAFLEET_ADMIN_KEY":
			e.AdminKey = value
		}
	}
	return e, nil
}

// write replaces the file in one step: a program that reads it sees the old one or the new one.
func (e *env) write(path string) error {
	var text strings.Builder
	text.WriteString("# Written by wafleet dev at each start. Read it into a shell by: set -a; . dev.env; set +a\n")
	for _, pair := range e.pairs() {
		fmt.Fprintf(&text, "%s=%s\n", pair[0], pair[1]) // values have no character that a shell would mind
	}
	const mode = 0o600 // it holds keys
	fresh := path + ".new"
	if err := os.WriteFile(fresh, []byte(text.String()), mode); err != nil {
		return fmt.Errorf("write dev.env: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("write dev.env: %w", err)
	}
	return nil
}

func newAdminKey() string { return "dev-" + strings.ToLower(rand.Text()) }

const (
	callTimeout = 10 * time.Second
	maxAnswer   = 16 << 20
)

// get reads from the tenant's API as the tenant. out may be nil.
func (e *env) get(ctx context.Context, path string, out any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL+path, http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("X-Api-Key", e.APIKey)
	req.Close = true
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask the node: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if out != nil && resp.StatusCode == http.StatusOK {
		if err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
			return 0, fmt.Errorf("read the node's answer: %w", err)
		}
	}
	return resp.StatusCode, nil
}
