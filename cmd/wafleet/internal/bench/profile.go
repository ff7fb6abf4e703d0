package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
)

// processorProfile is a CPU profile of this process, while one is being taken.
type processorProfile struct{ file *os.File }

func (p *processorProfile) begin(path string) (err error) {
	if p.file, err = os.Create(path); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if err = pprof.StartCPUProfile(p.file); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

// end writes the profile; it does nothing if none is being taken.
func (p *processorProfile) end() error {
	if p.file == nil {
		return nil
	}
	pprof.StopCPUProfile()
	err := p.file.Close()
	p.file = nil
	return err
}

// profiler writes profiles of its process into a folder; nowhere if the folder has no name.
type profiler struct {
	folder, name string
	cpu          processorProfile
}

// profileName names the profiles of what runs on a database.
func profileName(what, database string) string {
	engine, _, _ := strings.Cut(database, ":")
	return what + "-" + engine
}

func (p *profiler) path(kind string) string {
	return filepath.Join(p.folder, fmt.Sprintf("%s-%s.pprof", p.name, kind))
}

func (p *profiler) begin() error {
	if p.folder == "" {
		return nil
	}
	return p.cpu.begin(p.path("cpu"))
}

func (p *profiler) end() error { return p.cpu.end() }

// heap writes what is live; call it after a forced collection. The last one written stays.
func (p *profiler) heap() (err error) {
	if p.folder == "" {
		return nil
	}
	f, err := os.Create(p.path("heap"))
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return pprof.WriteHeapProfile(f)
}

// memory answers doMemory. What is live is written when it was collected.
func (p *profiler) memory(req request) (any, error) {
	force, err := arguments[bool](req)
	if err != nil {
		return nil, err
	}
	m := readMemory(force)
	if !force {
		return m, nil
	}
	return m, p.heap()
}
