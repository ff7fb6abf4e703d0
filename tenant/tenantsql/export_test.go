package tenantsql

import "context"

// Do runs a function as a caller's part of a transaction.
func (s *Store) Do(ctx context.Context, apply func() error) error {
	err := s.committer.do(ctx, 1, func(context.Context, *batch) error { return apply() })
	return s.wrap(ctx, "do", err)
}

// DoStatement runs a statement as a caller's part of a transaction.
func (s *Store) DoStatement(ctx context.Context, statement string, args ...any) error {
	err := s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		_, err := b.execBare(ctx, statement, args...)
		return err
	})
	return s.wrap(ctx, "do", err)
}
