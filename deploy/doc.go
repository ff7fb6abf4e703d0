// Package deploy holds what wafleet is installed and watched with: images, charts, units, rules and dashboards. There is no code
// in it; its tests try those parts on the real tools.
package deploy
