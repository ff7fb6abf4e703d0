package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/node"
	"github.com/wafleet/wafleet/session/devicestore"
)

// roleNode is a whole node, as wafleet serve makes it.
const roleNode = "node"

const doServe = "serve"

// nodePlan is what a node is to be.
type nodePlan struct {
	Database  string  `json:"database"`
	Control   string  `json:"control"` // URL of the simulator's control API
	AdminKey  string  `json:"adminKey"`
	MasterKey string  `json:"masterKey"` // that of the database's devices
	Connects  float64 `json:"connects"`  // sessions that come online in a second; 0: as many as can
	Profile   string  `json:"profile"`   // folder, or empty
	Name      string  `json:"name"`      // of the profiles
}

// nodeWorker is the worker that holds a node.
type nodeWorker struct {
	log *slog.Logger

	profile profiler
	stop    context.CancelFunc
	ended   chan error
}

func (n *nodeWorker) do(ctx context.Context, req request, _ func(string)) (any, error) {
	switch {
	case req.Do == doMemory:
		return n.profile.memory(req)
	case req.Do == doServe && n.stop == nil:
		plan, err := arguments[nodePlan](req)
		if err != nil {
			return nil, err
		}
		return n.serve(ctx, plan)
	}
	return nil, fmt.Errorf("node cannot %q", req.Do)
}

// serve starts the node, and returns its URL once it answers.
func (n *nodeWorker) serve(ctx context.Context, plan nodePlan) (any, error) {
	n.profile = profiler{folder: plan.Profile, name: profileName(plan.Name, plan.Database)}
	if err := n.profile.begin(); err != nil {
		return nil, err
	}
	c := config.Default()
	c.Listen, c.Database, c.AdminKey, c.WhatsApp = "127.0.0.1:0", config.Database(plan.Database), config.Secret(plan.AdminKey), plan.Control
	c.MasterKey = config.Secret(plan.MasterKey)
	c.ConnectsPerSecond, c.ConnectBurst = plan.Connects, max(1, int(plan.Connects)) // as by default: a burst of one second
	if plan.Connects == 0 {
		c.ConnectsPerSecond, c.ConnectBurst = maxSessions, maxSessions
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx)) // close ends it
	n.stop, n.ended = stop, make(chan error, 1)
	serving := make(chan string, 1)
	go func() { // close waits for it
		n.ended <- node.Run(life, node.Options{Config: c, Log: n.log, Version: "bench", Serving: func(address string) { serving <- address }})
	}()
	select {
	case address := <-serving:
		return "http://" + address, nil
	case err := <-n.ended:
		n.ended <- nil
		return nil, fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (n *nodeWorker) close() error {
	if n.stop == nil {
		return nil
	}
	n.stop()
	return errors.Join(<-n.ended, n.profile.end())
}

// runningNode is a node in a process of its own.
type runningNode struct {
	process *child
	plan    nodePlan
	base    string // its URL
}

// node starts a node on a database.
func (r *run) node(ctx context.Context, plan nodePlan) (*runningNode, error) {
	process, err := spawn(ctx, r.Command, roleNode, r.Progress)
	if err != nil {
		return nil, err
	}
	n := &runningNode{process: process, plan: plan}
	if err = n.serve(ctx); err != nil {
		return nil, errors.Join(err, process.close())
	}
	return n, nil
}

func (n *runningNode) serve(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("node: no answer for %v", startTimeout))
	defer cancel()
	return n.process.call(ctx, doServe, n.plan, &n.base)
}

func (n *runningNode) memory(ctx context.Context, force bool) (m Memory, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, measureTimeout, fmt.Errorf("node: nothing for %v", measureTimeout))
	defer cancel()
	err = n.process.call(ctx, doMemory, force, &m)
	return m, err
}

// planNode is a node on a database, with keys of its own.
func (r *run) planNode(database, name string) nodePlan {
	return nodePlan{
		Database: database, Control: r.control, AdminKey: rand.Text(), MasterKey: devicestore.NewMasterKey(), Profile: r.Profile, Name: name,
	}
}
