package config

import (
	_ "embed" // the example file
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
)

// Example is a commented config file that says what holds without one.
//
//go:embed example.yaml
var Example string

// maxFile bounds a config file, in bytes.
const maxFile = 1 << 20

// Sources is where the configuration comes from, weakest first. A missing one changes nothing.
type Sources struct {
	File   string                   // path of the config file
	Getenv func(name string) string // environment; an empty variable counts as not set
	Flags  map[string]string        // by setting name, those that were given
}

// Load makes the configuration. The error joins every fault of every source.
func Load(from Sources) (Config, error) {
	c := Default()
	faults := c.applyFile(from.File)
	for _, s := range Settings() {
		if from.Getenv == nil {
			break
		}
		if value := from.Getenv(s.Env()); value != "" {
			if err := s.set(&c, value); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", s.Env(), err))
			}
		}
	}
	for _, s := range Settings() {
		if value, given := from.Flags[s.Name]; given {
			if err := s.set(&c, value); err != nil {
				faults = append(faults, fmt.Errorf("--%s: %w", s.Name, err))
			}
		}
	}
	if err := c.readKeys(); err != nil {
		faults = append(faults, err)
	}
	if err := c.Validate(); err != nil {
		faults = append(faults, err)
	}
	return c, errors.Join(faults...)
}

func (c *Config) applyFile(path string) []error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return []error{fmt.Errorf("config file: %w", err)}
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return []error{fmt.Errorf("config file: %w", err)}
	}
	if len(raw) > maxFile {
		return []error{fmt.Errorf("config file %s: larger than %d bytes", path, maxFile)}
	}
	return c.applyYAML(path, raw)
}

// applyYAML reads a flat mapping of settings.
func (c *Config) applyYAML(path string, raw []byte) []error {
	var document yaml.Node
	if err := yaml.Unmarshal(raw, &document); err != nil {
		return []error{fmt.Errorf("config file %s: %w", path, err)}
	}
	if len(document.Content) == 0 {
		return nil // only comments
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return []error{fmt.Errorf("config file %s: not a list of settings like listen: 127.0.0.1:8080", path)}
	}
	known := make(map[string]Setting)
	for _, s := range Settings() {
		known[s.Name] = s
	}
	var faults []error
	seen := make(map[string]bool)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if err := c.applyEntry(known, seen, key, value); err != nil {
			faults = append(faults, fmt.Errorf("config file %s, line %d: %w", path, key.Line, err))
		}
	}
	return faults
}

func (c *Config) applyEntry(known map[string]Setting, seen map[string]bool, key, value *yaml.Node) error {
	s, ok := known[key.Value]
	switch {
	case !ok:
		return fmt.Errorf("unknown setting %q", key.Value)
	case seen[key.Value]:
		return fmt.Errorf("%s is set twice", s.Name)
	case value.Kind != yaml.ScalarNode:
		return fmt.Errorf("%s: not a single value", s.Name)
	}
	seen[key.Value] = true
	if value.Tag == "!!null" {
		return nil
	}
	if err := s.set(c, value.Value); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}
