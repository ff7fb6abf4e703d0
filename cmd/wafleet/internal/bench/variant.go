package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wafleet/wafleet/session/devicestore"
)

// firstAccount is the number of the first account under test; the others follow.
const firstAccount uint64 = 551190000000

// prepared is a variant whose devices exist, for the simulator and in its store.
type prepared struct {
	plan   plan
	target *child // the process that will hold the sessions
	drop   func() error
}

// prepare makes a variant's devices and starts the process that will be measured. It is not the one that made the devices, since
// that holds what making them left behind; unless they are nowhere but in its memory.
func (r *run) prepare(ctx context.Context, v Variant, place int) (*prepared, error) {
	r.say("%s: linking %d devices", v, r.Sessions)
	address, drop, err := r.scratch(ctx, fmt.Sprintf("%s-%d", v, place))
	if err != nil {
		return nil, err
	}
	p := &prepared{drop: drop, plan: plan{
		Variant: v, Database: address, Control: r.control, First: firstAccount, Sessions: r.Sessions, Profile: r.Profile, Exact: r.exact,
		MasterKey: devicestore.NewMasterKey(),
	}}
	if err = r.makeDevices(ctx, p); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (r *run) makeDevices(ctx context.Context, p *prepared) (err error) {
	if p.target, err = spawn(ctx, r.Command, roleTarget, r.Progress); err != nil {
		return err
	}
	if err = p.call(ctx, r.sessionsTimeout(), doPrepare, p.plan, nil); err != nil || p.plan.Variant == BareMemory {
		return err
	}
	maker := p.target
	p.target = nil
	if err = maker.close(); err != nil {
		return err
	}
	role := roleTarget
	if p.plan.Variant == Node {
		role = roleNode
	}
	p.target, err = spawn(ctx, r.Command, role, r.Progress)
	return err
}

func (p *prepared) call(ctx context.Context, timeout time.Duration, do string, args, result any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%s: nothing for %v", p.plan.Variant, timeout))
	defer cancel()
	return p.target.call(ctx, do, args, result)
}

// end ends the process that was measured.
func (p *prepared) end() error {
	if p.target == nil {
		return nil
	}
	target := p.target
	p.target = nil
	return target.close()
}

func (p *prepared) close() error { return errors.Join(p.end(), p.drop()) }

// askSimulator is a call with a deadline.
func (r *run) askSimulator(ctx context.Context, timeout time.Duration, do string, args, result any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("simulator: nothing for %v", timeout))
	defer cancel()
	return r.sim.call(ctx, do, args, result)
}

// inVariants is inRounds with a simulator of its own for each measurement: what the one before has left in it would slow the next.
func inVariants[T any](
	ctx context.Context, r *run, variants []Variant, measure func(p *prepared, place int) (T, error), key func(T) float64,
) ([]T, error) {
	return inRounds(r.Rounds, variants, func(v Variant, place int) (m T, err error) {
		if err = r.simulate(ctx); err != nil {
			return m, err
		}
		defer func() { err = errors.Join(err, r.sim.close()) }()
		p, err := r.prepare(ctx, v, place)
		if err != nil {
			return m, err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		return measure(p, place)
	}, key)
}

// inRounds measures all variants as often as was asked for, in turns, so that what slows the machine for a while slows all. It
// returns of each variant the measurement that is the median by key.
func inRounds[V, T any](rounds int, variants []V, measure func(v V, place int) (T, error), key func(T) float64) ([]T, error) {
	all := make([][]T, len(variants))
	for round := range rounds {
		for i, v := range variants {
			m, err := measure(v, round*len(variants)+i)
			if err != nil {
				return nil, fmt.Errorf("%v: %w", v, err)
			}
			all[i] = append(all[i], m)
		}
	}
	medians := make([]T, len(variants))
	for i, list := range all {
		slices.SortFunc(list, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
		medians[i] = list[(len(list)-1)/2]
	}
	return medians, nil
}
