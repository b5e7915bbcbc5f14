-- The cost of a call of a script by itself.
return { 1, 2, 3, 4, 5, 6, 7 }
