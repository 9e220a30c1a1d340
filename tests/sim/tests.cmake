# floe-sim plays seeds of the whole cluster; ctest plays a bounded number of them, label sim.
add_executable(floe-sim ${CMAKE_CURRENT_LIST_DIR}/sim_main.c)
target_link_libraries(floe-sim PRIVATE floe_test_support)
set_target_properties(floe-sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
add_test(NAME sim.seeds COMMAND floe-sim --seeds 1..200 --seconds 75)
add_test(NAME sim.replay COMMAND floe-sim --seeds 1..5 --twice)
set_tests_properties(sim.seeds sim.replay PROPERTIES LABELS sim TIMEOUT 300)
