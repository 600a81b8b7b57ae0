// COLO
